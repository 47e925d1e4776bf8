"""Writes the parts of the documentation that the source knows best: commands, recipe keys, reason codes.

Run `python docs/make_cli.py` after a change to any of them; tests/test_docs.py fails while a page is stale. A part
stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; everything around it is written by hand.
"""

from __future__ import annotations

import dataclasses
import io
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console

from earshot.audio.decode import AUDIO_EXTENSIONS
from earshot.audio.reasons import REASONS, WARNINGS
from earshot.cli import app
from earshot.data.scan import SKIPS
from earshot.data.tables import COLUMN_NAMES
from earshot.recipe import Recipe, load_recipe, recipe_names

DOCS = Path(__file__).parent
WIDTH = 96

# What keys mean that do not say it themselves (`Field(description=...)` in the model comes first).
MEANINGS: dict[str, str] = {
    "Recipe.name": "names the run folder; letters, digits, spaces, `.` and `-`. A file has its own name",
    "Recipe.description": "for people",
    "Recipe.seed": "of every random draw: folds, weights, order, augmentation",
    "Recipe.n_folds": "folds to deal where the data bring none; fewer where a class has fewer groups",
    "AudioConfig.rate_hz": "every sound is resampled to it",
    "AudioConfig.resampler": "quality of resampling, as soxr names it",
    "LimitsConfig.max_seconds": "longest sound",
    "LimitsConfig.max_channels": "most channels",
    "LimitsConfig.min_rate_hz": "lowest rate of a file",
    "LimitsConfig.max_rate_hz": "highest rate of a file",
    "LogMelConfig.kind": "levels of mel bands over time, for networks",
    "LogMelConfig.n_fft": "samples in a frame",
    "LogMelConfig.hop_length": "samples from frame to frame",
    "LogMelConfig.n_mels": "bands",
    "LogMelConfig.f_min_hz": "lower edge of the lowest band",
    "LogMelConfig.f_max_hz": "upper edge of the highest band; half the rate where left out",
    "LogMelConfig.mel_scale": "spacing of the bands",
    "LogMelConfig.mel_norm": "slaney: bands of equal area; none: of equal height",
    "LogMelConfig.floor_db": "lower levels count as this one",
    "StatisticsConfig.kind": "a row of statistics of a log-mel spectrogram, for the support vector machine",
    "StatisticsConfig.n_modulation_bands": "bands of the modulation spectrum",
    "StatisticsConfig.n_modulation_rates": "rates of the modulation spectrum",
    "Cnn2dConfig.kind": "a convolutional network",
    "Cnn2dConfig.n_stem_channels": "channels of the first convolution, which halves time and frequency",
    "Cnn2dConfig.block_channels": "channels of each block of two convolutions, which halves them again",
    "Cnn2dConfig.dropout": "share of pooled values that are dropped in training",
    "SvmConfig.kind": "a support vector machine with a Gaussian kernel",
    "SvmConfig.c": "penalty of a training error (C); less is smoother",
    "AugmentConfig.shift": "rotate a window in time by a random amount",
    "AugmentConfig.gain_db": "louder or softer by up to this",
    "AugmentConfig.polarity": "turn every second waveform upside down, by chance",
    "AugmentConfig.noise_probability": "share of windows that get white noise",
    "AugmentConfig.noise_snr_db": "lowest and highest signal-to-noise ratio of it",
    "AugmentConfig.speed_octaves": "faster or slower, and so higher or lower, by up to this many octaves",
    "AugmentConfig.mix_probability": "share of windows that are mixed with another one, targets alike",
    "AugmentConfig.time_resize": "stretch a spectrogram in time by up to this share",
    "AugmentConfig.frequency_resize": "stretch a spectrogram in frequency by up to this share",
    "AugmentConfig.n_time_masks": "stretches of time that are hidden",
    "AugmentConfig.max_time_mask": "longest of them, as a share of the window",
    "AugmentConfig.n_frequency_masks": "ranges of bands that are hidden",
    "AugmentConfig.max_frequency_mask": "widest of them, as a share of the bands",
    "TrainingConfig.epochs": "passes over the training clips, unless early stopping ends it",
    "TrainingConfig.learning_rate": "highest rate of the schedule; L-BFGS finds its own steps",
    "TrainingConfig.weight_decay": "adamw: decoupled from the gradient; adam, sgd and lbfgs: an L2 penalty",
    "TrainingConfig.averaging_share": "weights are averaged over about this share of the last steps; 0: not at all",
    "TrainingConfig.warmup_share": "share of the steps in which the rate of one_cycle rises",
    "TrainingConfig.optimizer": "lbfgs: on all clips at once, without augmentation and dropout",
    "TrainingConfig.schedule": "one_cycle: up, then down as a cosine; plateau: lower when the inner loss stalls",
    "TrainingConfig.plateau_factor": "what the rate is multiplied by on a plateau",
    "TrainingConfig.plateau_patience": "epochs without a lower inner loss that make a plateau",
    "TrainingConfig.momentum": "of sgd",
    "TrainingConfig.nesterov": "sgd looks ahead along its momentum",
    "TrainingConfig.clip_gradient": "longest gradient; longer ones are shortened to it",
    "TrainingConfig.loss": "auto: cross_entropy; binary_cross_entropy where clips have several labels",
    "TrainingConfig.focal_gamma": "how little the focal loss counts what is settled",
    "TrainingConfig.label_smoothing": "share of each target that is spread over all classes",
    "TrainingConfig.keep": "best: the weights of the epoch with the lowest inner loss",
    "TrainingConfig.early_stopping_patience": "stop after so many epochs without a lower inner loss",
    "TrainingConfig.inner_share": "training groups set aside for early stopping, plateau and keep",
    "TrainingConfig.batch_size": "windows a step",
    "TrainingConfig.balance": "auto: draw rare classes more often where classes differ beyond 2:1",
    "TrainingConfig.precision": "auto: bf16 where the device multiplies it fastest",
}


def pages() -> dict[Path, str]:
    """Every page with generated parts, as it should read."""
    parts: Mapping[str, Mapping[str, Callable[[], str]]] = {
        "cli.md": {"commands": commands},
        "recipes.md": {"recipes": named_recipes, "keys": keys},
        "data.md": {
            "extensions": lambda: ", ".join(f"`{name}`" for name in sorted(AUDIO_EXTENSIONS)) + ".",
            "columns": columns,
            "reasons": lambda: codes(REASONS),
            "warnings": lambda: codes(WARNINGS),
            "skips": lambda: codes(SKIPS),
        },
    }
    return {DOCS / name: filled((DOCS / name).read_text("utf-8"), each) for name, each in parts.items()}


def filled(page: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """A page with its generated parts renewed.

    Raises:
        ValueError: the page lacks the markers of a part.
    """
    for name, build in parts.items():
        start, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, found, rest = page.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise ValueError(f"expected {start} and {end}")
        page = f"{before}{start}\n{build()}\n{end}{after}"
    return page


def commands() -> str:
    """The help of `earshot` and of each of its commands."""
    names = [name for name in app if not name.startswith("-")]
    return "\n\n".join([_help([]), *(f"## earshot {name}\n\n{_help([name])}" for name in sorted(names))])


def _help(tokens: list[str]) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    app.help_print(tokens, console=console)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().strip("\n").splitlines()]
    return "\n".join(["```text", *lines, "```"])


def named_recipes() -> str:
    """The recipes that ship with earshot."""
    return _table(("recipe", "what it is"), ((f"`{n}`", load_recipe(n).description) for n in recipe_names()))


def columns() -> str:
    """Column names that are found unasked."""
    rows = ((f"`{field}`", ", ".join(f"`{n}`" for n in names)) for field, names in COLUMN_NAMES.items())
    return _table(("column", "names, best first"), rows)


def codes(explained: Mapping[str, str]) -> str:
    """Codes and what they mean."""
    return _table(("code", "meaning"), ((f"`{code}`", explained[code]) for code in sorted(explained)))


def keys() -> str:
    """Every key of a recipe: a section for each table of the TOML file."""
    return "\n\n".join(_section(title, model) for title, model in _tables(Recipe, ""))


def _tables(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """(path, model) of each table of the TOML file that has keys of its own; lists of the same tables once."""
    if any(not _models(field.annotation) for field in model.model_fields.values()):
        yield path, model
    seen: list[Any] = []
    for name, field in model.model_fields.items():
        if not _differing(field) and not (_is_list(field) and field.annotation in seen):
            seen.append(field.annotation)
            below = f"{path}.{name}".lstrip(".") + (".NAME" if get_origin(field.annotation) is dict else "")
            below = f"[{below}]" if _is_list(field) else below
            for inner in _models(field.annotation):
                yield from _tables(inner, below)


def _is_list(field: FieldInfo) -> bool:
    """Whether a key is a list of tables, `[[...]]` in TOML."""
    return get_origin(field.annotation) is tuple and bool(_models(field.annotation))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _section(path: str, model: type[BaseModel]) -> str:
    kind = model.model_fields.get("kind")
    title = f"`[{path}]`" if path else "Top of the file"
    title += f' with `kind = "{kind.default}"`' if kind else ""
    rows = [
        (f"`{name}`", *_default(field), meaning(model, name))
        for name, field in model.model_fields.items()
        if not _models(field.annotation) or _differing(field) or _is_list(field)
    ]
    about = re.sub(r"\s+", " ", (model.__doc__ or "").split("\n\n")[0]).replace("`", "")
    return f"### {title}\n\n{about}\n\n" + _table(("key", "default", "allowed", "meaning"), rows)


def _differing(field: FieldInfo) -> dict[str, Any]:
    """Values of a nested table's default that are not the defaults of its own section."""
    if not isinstance(field.default, BaseModel):
        return {}
    usual = type(field.default)().model_dump()
    return {key: value for key, value in field.default.model_dump().items() if value != usual[key]}


def _default(field: FieldInfo) -> tuple[str, str]:
    if differing := _differing(field):
        changed = ", ".join(f"{key} = {_toml(value)}" for key, value in differing.items())
        return f"`{changed}`", f'the keys of `kind = "{field.default.kind}"`'
    if field.default is PydanticUndefined:
        return "none: must be given", _allowed(field.annotation, field.metadata)
    shown = "left out" if field.default is None else f"`{_toml(field.default)}`"
    return shown, _allowed(field.annotation, field.metadata)


def meaning(model: type[BaseModel], name: str) -> str:
    """What a key means; empty where nobody has said it."""
    if _differing(model.model_fields[name]):
        return "the spectrogram that the statistics are of"
    return model.model_fields[name].description or MEANINGS.get(f"{model.__name__}.{name}", "")


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value).replace("'", '"')


def _allowed(annotation: Any, metadata: Iterable[Any]) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _allowed(inner[0], inner[1:])
    if origin in (Union, types.UnionType):
        return " or ".join(
            "left out" if each is types.NoneType else _allowed(each, metadata) for each in inner
        )
    if origin is Literal:
        return ", ".join(f"`{_toml(value)}`" for value in inner)
    if origin is tuple and _models(inner[0]):
        kinds = [each.model_fields["kind"].default for each in _models(inner[0])]
        return f"list of tables, each of a kind: {', '.join(f'`{kind}`' for kind in kinds)}"
    if origin is tuple:
        several = f"list{_range(metadata)}" if inner[-1] is Ellipsis else f"list of {len(inner)}"
        return f"{several}, each a {_allowed(inner[0], ())}"
    if annotation is bool:
        return "`true`, `false`"
    if origin is dict or dataclasses.is_dataclass(annotation):
        return "table"
    if origin is list:
        return "list"
    return {int: "whole number", float: "number", str: "text"}[annotation] + _range(metadata)


def _range(metadata: Iterable[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    plain = [rule for each in metadata for rule in (each.metadata if isinstance(each, FieldInfo) else [each])]
    rules = [f"{signs[s]} {_short(getattr(r, s))}" for r in plain for s in signs if hasattr(r, s)]
    lengths = {"min_length": "at least", "max_length": "at most"}
    rules += [
        f"{word} {getattr(r, s)} long" for r in plain for s, word in lengths.items() if getattr(r, s, None)
    ]
    return f" {', '.join(rules)}" if rules else ""


def _short(bound: float) -> str:
    power = int(bound).bit_length() - 1
    return f"2^{power}" if bound == 2**power and power > 20 else f"{bound:,}".replace(",", "_")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, "utf-8")
