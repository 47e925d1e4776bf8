"""Studies from their TOML files: grids of rows spread out, named trainings filled in, everything checked.

Conventions: a row with a `grid` stands for one row a combination: `{key}` in its texts and model takes the values
in turn. `[trainings.NAME]` are trainings that a row can start from, `training = {base = "NAME", epochs = 60}`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import product
from typing import Any

from pydantic import ValidationError

from earshot.errors import ConfigError, complaint, rule_of, value_of
from earshot.studies.spec import Study


def study_names() -> list[str]:
    """Names of the studies that ship with earshot."""
    folder = resources.files("earshot.studies")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_study(name: str) -> Study:
    """A study by name.

    Raises:
        ConfigError: there is no such study.
    """
    if name not in study_names():
        fix = "See `earshot study --help`."
        raise ConfigError(complaint("study", "name", name, f"one of {', '.join(study_names())}", fix))
    text = (resources.files("earshot.studies") / f"{name}.toml").read_text("utf-8")
    return read_study({"name": name, **tomllib.loads(text)})


def read_study(values: Mapping[str, Any]) -> Study:
    """A study from plain values, its grids spread out.

    Raises:
        ConfigError: a key or value breaks its rule.
    """
    plain = dict(values)
    trainings = plain.pop("trainings", {})
    rows: list[dict[str, Any]] = []
    for each in plain.get("rows", ()):
        try:
            rows += expanded(_with_bases(each, trainings))
        except (IndexError, KeyError, TypeError) as error:
            rule = "lists nested as its grid, with a figure for each combination"
            where = f"study {values.get('name')}, row {each.get('id')!r}"
            raise ConfigError(complaint(where, "published", each.get("published"), rule)) from error
    try:
        return Study.model_validate({**plain, "rows": rows})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "study"
        if first["loc"][:1] == ("rows",) and len(first["loc"]) > 1:
            field += f" (row {rows[int(first['loc'][1])].get('id')!r})"
        where = f"study {values.get('name')}"
        raise ConfigError(complaint(where, field, value_of(first), rule_of(first))) from error


def expanded(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows that a row with a `grid` stands for; `published` is then nested lists in the order of the grid.

    >>> grid = {"id": "knn-{k}", "grid": {"k": [3, 7]}, "model": {"k": "{k}"}, "published": [12.1, 10.5]}
    >>> [(row["id"], row["model"]["k"], row["published"]["mean"]) for row in expanded(grid)]
    [('knn-3', 3, 12.1), ('knn-7', 7, 10.5)]
    """
    plain = dict(row)
    grid = plain.pop("grid", {})
    published = plain.pop("published", None)
    for at in product(*(range(len(values)) for values in grid.values())):
        chosen = {key: grid[key][i] for key, i in zip(grid, at, strict=True)}
        figure: Any = published
        for i in at:
            figure = figure[i] if isinstance(figure, Sequence) else None
        one: dict[str, Any] = _filled(plain, chosen)
        if figure is not None:
            one["published"] = figure if isinstance(figure, Mapping) else {"mean": figure}
        yield one


def _with_bases(row: Mapping[str, Any], trainings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`training = {base = "cnn", epochs = 60}`: the named training with changes."""
    training = dict(row.get("training", {}))
    base = training.pop("base", None)
    if base is not None:
        training = {**trainings.get(base, {"base": base}), **training}
    return {**row, "training": training} if training else dict(row)


def _filled(value: Any, chosen: Mapping[str, Any]) -> Any:
    """`{key}` replaced in every text; a text that is nothing else takes the value with its type."""
    if isinstance(value, dict):
        return {key: _filled(each, chosen) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, chosen) for each in value]
    if not isinstance(value, str) or not chosen:
        return value
    for key, one in chosen.items():
        if value == f"{{{key}}}":
            return one
        value = value.replace(f"{{{key}}}", str(one))
    return value
