"""Recipes: everything that decides a training, as data. Named ones ship as TOML in `recipes/`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from earshot.audio.decode import DecodeLimits
from earshot.audio.windows import Gate
from earshot.errors import ConfigError, complaint, rule_of, value_of
from earshot.evaluation.decisions import DecisionsConfig
from earshot.models.pooling import WindowScore
from earshot.training.members import MemberConfig
from earshot.training.options import TrainingConfig


class LimitsConfig(BaseModel):
    """What one decoded sound may cost, checked on samples really decoded; see `DecodeLimits`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seconds: float = Field(600.0, gt=0)
    max_bytes: int = Field(256 * 2**20, gt=0, description="of float32 samples, all channels")
    max_channels: int = Field(32, ge=1)
    min_rate_hz: int = Field(1_000, ge=1)
    max_rate_hz: int = Field(768_000, ge=1)

    def decode_limits(self) -> DecodeLimits:
        """The same as the decoder takes them."""
        return DecodeLimits(**self.model_dump())


class AudioConfig(BaseModel):
    """What every member hears: one rate, one window length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_hz: int = Field(44_100, ge=1_000, le=768_000)
    window_s: float | Literal["auto"] = Field(
        "auto", description="auto: the 90 % quantile of the training clips' lengths, within 0.5 to 5 s"
    )
    hop_s: float | None = Field(None, ge=0.01, description="between windows of a long clip; none: a window")
    gate_db: float | None = Field(
        None,
        gt=0,
        le=120,
        description="skip windows further below the loudest of their clip; none: keep them",
    )
    gate_dbfs: float | None = Field(
        None, ge=-120, le=0, description="skip windows below this level, in dB of full scale; none: keep them"
    )
    window_score: WindowScore = Field("mean", description="how a clip's windows become its probabilities")
    resampler: Literal["HQ", "VHQ", "MQ", "LQ", "QQ"] = "HQ"
    limits: LimitsConfig = LimitsConfig()

    @property
    def gate(self) -> Gate:
        """Which windows of a clip are loud enough to be heard."""
        return Gate(self.gate_db, self.gate_dbfs)

    @model_validator(mode="after")
    def _has_length(self) -> AudioConfig:
        if self.window_s != "auto" and not 0.05 <= self.window_s <= 60:
            raise ValueError("window_s from 0.05 to 60 seconds")
        if self.hop_s is not None and self.window_s != "auto" and self.hop_s > self.window_s:
            raise ValueError("hop_s at most as long as window_s: what lies between windows is never heard")
        return self


MemberName = Annotated[str, Field(pattern=r"^\w[\w. -]*$", max_length=80)]  # files are called by it


class Recipe(BaseModel):
    """A whole training: audio, folds, members, and what is decided on top of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("custom", pattern=r"^\w[\w. -]*$", max_length=80)
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    n_folds: int = Field(5, ge=2, le=100)
    ignore_folds: bool = Field(False, description="cross-validate by group even where the data bring folds")
    audio: AudioConfig = AudioConfig()
    decisions: DecisionsConfig = DecisionsConfig()
    members: dict[MemberName, MemberConfig] = Field(min_length=1)

    def to_toml(self) -> str:
        """The recipe with every default written out."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def recipe_names() -> list[str]:
    """Names of the recipes that ship with earshot."""
    folder = resources.files("earshot") / "recipes"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_recipe(source: str | Path | Mapping[str, Any], changes: Sequence[str] = ()) -> Recipe:
    """A recipe by name, from a TOML file or from a mapping, with `key=value` changes.

    A key of a change is a dotted path, or its last parts where they name one setting only:
    `members.cnn.training.epochs=10` or, with one network, `epochs=10`. Values are read as TOML, else as text.

    Raises:
        ConfigError: no such recipe, key or value; the message names what there is.
    """
    values, where = _read(source)
    if not isinstance(values.get("members", {}), dict):
        raise ConfigError(complaint(where, "members", values["members"], "tables [members.NAME]"))
    recipe = _validated(values, where)
    if not changes:
        return recipe
    full = recipe.model_dump(mode="json")
    for name, member in recipe.members.items():
        if not member.is_network:  # settings that it never reads would make `epochs` ambiguous
            del full["members"][name]["training"]
            if not member.augment.n_copies:
                del full["members"][name]["augment"]
    for change in changes:
        _apply(full, change)
    return _validated(_without_none(full), "--set")


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the architecture of its pretrained members: what is trained loads without their source.

    Raises:
        ConfigError: the weights of one cannot be found or are of another kind.
    """
    members = {}
    for name, member in recipe.members.items():
        resolve = getattr(member.model, "resolved", None)
        members[name] = member if resolve is None else member.model_copy(update={"model": resolve()})
    return recipe.model_copy(update={"members": members})


def _read(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    if isinstance(source, Mapping):
        return dict(source), "recipe"
    if str(source) in recipe_names():
        text = (resources.files("earshot") / "recipes" / f"{source}.toml").read_text()
        return {"name": str(source), **tomllib.loads(text)}, str(source)
    path = Path(source)
    if not path.is_file():
        rule = f"one of {', '.join(recipe_names())}, or a TOML file that exists"
        raise ConfigError(complaint("recipe", "name", str(source), rule))
    try:
        return {"name": _name_of(path), **tomllib.loads(path.read_text())}, path.name
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: the file is not TOML: {error}. Correct that line.") from error


def _name_of(path: Path) -> str:
    """The name of a recipe that its author gave none: the file's, as far as a folder may be called so."""
    letters = [c if c.isalpha() or c.isdecimal() or c in "_. -" else "_" for c in path.stem]
    return "".join(letters).lstrip(". -")[:80].strip() or "custom"


def _validated(values: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        faults = error.errors()
        # A key that is mistyped is unknown, and missing by its right name: the former says more.
        first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
        field = _key(first["loc"], values) or "recipe"
        fix = "The keys are listed in docs/recipes.md and in every run's experiment.toml."
        known = {name for table in _tables() for name in table.get("properties", {})}
        raise ConfigError(complaint(where, field, value_of(first), rule_of(first, known), fix)) from error


def _tables() -> list[dict[str, Any]]:
    """The JSON schema of every table of a recipe."""
    schema = Recipe.model_json_schema()
    return [schema, *schema["$defs"].values()]


def _key(place: Sequence[str | int], values: Any) -> str:
    """The dotted key of a fault; pydantic puts the `kind` of a table into the path, where no file has it."""
    parts = []
    for part, following in zip(place, [*place[1:], None], strict=True):
        is_table = isinstance(values, Mapping)
        if is_table and part not in values and following in values:
            continue
        parts.append(str(part))
        values = values.get(part) if is_table else None
    return ".".join(parts)


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(complaint("--set", "change", change, "key=value", "For instance --set seed=1."))
    wanted = tuple(key.strip().split("."))
    matches = [path for path in _paths(values) if path[-len(wanted) :] == wanted]
    if wanted in matches:
        matches = [wanted]
    if len(matches) != 1:
        raise ConfigError(_unmatched(key, [".".join(p) for p in matches], values))
    *parents, last = matches[0]
    table = values
    for parent in parents:
        table = table[parent]
    table[last] = _value(text.strip())


def _unmatched(key: str, matches: Sequence[str], values: Mapping[str, Any]) -> str:
    """The message for a key that means several settings, or none."""
    if matches:
        return complaint("--set", "key", key, f"one of {', '.join(matches)}", "Give more of its dotted path.")
    last = key.split(".")[-1]
    known = {path[-1]: ".".join(path) for path in _paths(values)}
    near = [known[name] for name in get_close_matches(last, known, n=3)]
    of_networks = get_close_matches(last, TrainingConfig.model_fields, n=1)
    if of_networks and not near and not any("training" in m for m in values["members"].values()):
        fix = f"{of_networks[0]} is of networks, and there is none."
        return complaint("--set", "key", key, "a key of the recipe", fix)
    rule = f"a key of the recipe, such as {', '.join(near)}" if near else "a key of the recipe"
    return complaint("--set", "key", key, rule, "docs/recipes.md and any run's experiment.toml list them.")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _paths(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))
        else:
            yield (*above, key)


def _without_none(values: Any) -> Any:
    if isinstance(values, dict):
        return {k: _without_none(v) for k, v in values.items() if v is not None}
    return values
