"""What every page shares: look, words for numbers, figures that take the page's colours, writing in one move."""

from __future__ import annotations

import io
import math
import os
import re
import unicodedata
import warnings
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
import matplotlib
from matplotlib.figure import Figure

from earshot.files import write_whole
from earshot.report.plots import COLOURS

THIN_SPACE = "\u202f"  # narrow and unbreakable: keeps a number and its unit together


@cache
def template(name: str) -> jinja2.Template:
    """A template of this folder; it may include others, such as style.css. All text in it is escaped."""
    folder = resources.files("earshot.report")
    world = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda each: folder.joinpath(each).read_text("utf-8")),
    )
    world.filters |= {"percent": percent, "number": number, "count": count, "duration": duration}
    world.filters["isolated"] = isolated
    return world.get_template(name)


def write_page(path: str | os.PathLike[str], text: str) -> None:
    """Writes a page in one move: a reader sees the old page or the new one, never a part."""
    # Names of files need not be Unicode.
    write_whole(Path(path), text.encode("utf-8", errors="backslashreplace"))


def isolated(name: str) -> str:
    """A name for the middle of a sentence; one that is written from right to left keeps its neighbours' order."""
    from_right = any(unicodedata.bidirectional(ch) in ("R", "AL") for ch in name)
    return f"\u2068{name}\u2069" if from_right else name


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.918 -> '91.8 %'; an unknown fraction -> an en dash."""
    known = fraction is not None and math.isfinite(fraction)
    return f"{100 * fraction:.{digits}f}{THIN_SPACE}%" if fraction is not None and known else "–"


def number(value: float | None, digits: int = 3) -> str:
    """A plain number, or an en dash where there is none."""
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else "–"


def count(value: int | None) -> str:
    """12345 -> '12 345'."""
    return "–" if value is None else f"{int(value):,}".replace(",", THIN_SPACE)


def duration(seconds: float | None) -> str:
    """75.2 -> '1 min 15 s'."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:  # what would be rounded to 60.0 is a minute
        return f"{seconds:.1f}{THIN_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{THIN_SPACE}h {minutes}{THIN_SPACE}min"
    return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"


def inline_svg(figure: Figure, *, prefix: str) -> str:
    """A figure as an <svg> element that takes the colours, font and width of the page around it.

    Args:
        prefix: put before every id, so that several figures can live in one page.
    """
    buffer = io.StringIO()
    settings = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "earshot"})
    with settings, warnings.catch_warnings():
        # The reader's browser has letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # drop the XML declaration and the DTD address
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # its `*` would reach the whole page
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'\bid="|xlink:href="#|url\(#', lambda hit: hit[0] + prefix, text)
    text = re.sub(r"font-family: [^;\"<]*;? ?", "", text)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--plot-{name})")
    return text
