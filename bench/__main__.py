"""Runs benchmarks one after another and rewrites their sections of bench/RESULTS.md.

`python -m bench` runs all, `python -m bench startup log_mel` two of them, and `python -m bench train --run
runs/esc10` reads the default recipe's scores from a run that is finished.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import Skipped

RESULTS = Path(__file__).with_name("RESULTS.md")
NAMES = (
    "startup",
    "log_mel",
    "store",
    "step_cost",
    "side_by_side",
    "predict",
    "train",
    "memory",
    "swarm",
    "augment",
    "pictures",
    "picture_cnn",
    "corruptions",
    "novelty",
    "audit",
)
_PACKAGES = ("earshot", "torch", "numpy", "soxr", "librosa", "lightning")


def main() -> None:
    """Entry point of `python -m bench`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures and rewrites RESULTS.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all without")
    parser.add_argument(
        "--run", type=Path, help="for train: a run folder of the default recipe, made if missing"
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"NAME is {unknown[0]!r}; expected one of {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        print(f"== {name}", flush=True)
        options = {"run": arguments.run} if name == "train" else {}
        try:
            text = importlib.import_module(f"bench.{name}").main(**options)
        except Skipped as reason:
            print(f"skipped: {reason}")
            continue
        print(text)
        RESULTS.write_text(with_section(RESULTS.read_text(), name, f"{text}\n\n{circumstances()}"))


def with_section(page: str, name: str, text: str) -> str:
    """The page with the text between the markers of a benchmark replaced.

    Raises:
        ValueError: the page has no such markers.
    """
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"RESULTS.md has no section between {start} and {end}")
    return pattern.sub(lambda _: f"{start}\n{text}\n{end}", page)


def circumstances() -> str:
    """One line: machine, versions and date."""
    installed = []
    for package in _PACKAGES:
        try:
            installed.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    machine = (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )
    return f"{datetime.now(UTC):%Y-%m-%d}. {machine}; {', '.join(installed)}."


def processor() -> str:
    """The processor's name, and its family and model where the name alone says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = about.get("model name", platform.machine())
    return f"{name} (family {about['cpu family']}, model {about['model']})" if "cpu family" in about else name


if __name__ == "__main__":
    main()
