"""What is asked of a study, and the study that comes of it: fewer runs, epochs and copies where that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from earshot.errors import ConfigError, complaint, rule_of
from earshot.monitor import Monitor, Silent
from earshot.recipe import load_recipe
from earshot.studies.spec import Study
from earshot.training.options import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """What is asked for.

    Args:
        study: its name, or the study itself.
        data: folder of the clips; where None, the study's own folders are looked for.
        folder: where features, finished experiments and pages are kept; one for all protocols of a study.
        protocol: one of the study's; its first one where empty.
        quick: every row on a fraction of the clips and epochs, to see that it works.
        rows: patterns of row ids, separated by commas; the others are shown where they were run before.
        runs: trainings of each row that the study trains several times.
        folds: judge only these official folds.
        n_workers: experiments side by side; where None, one a core, or one alone with an accelerator.
    """

    study: str | Study
    folder: Path
    data: Path | None = None
    protocol: str = ""
    quick: bool = False
    rows: str = "*"
    runs: int | None = None
    folds: tuple[int, ...] = ()
    device: str = "auto"
    n_workers: int | None = None
    command: str = ""
    store_root: Path | None = None
    monitor: Monitor = field(default_factory=Silent)


def resized(study: Study, asked: StudyRun) -> Study:
    """The study with as many runs, epochs and copies as are asked for.

    Raises:
        ConfigError: less than one run.
    """
    if asked.runs is not None and asked.runs < 1:
        raise ConfigError(complaint("study", "--runs", asked.runs, "a whole number >= 1"))
    quick = study.quick
    rows = []
    for row in study.rows:
        runs = asked.runs if asked.runs is not None and row.runs > 1 else row.runs
        changes: dict[str, Any] = {"runs": runs}
        if asked.quick:
            most = quick.toy_epochs if row.toy else quick.epochs
            training = row.training.model_copy(update={"epochs": min(row.training.epochs, most)})
            changes = {"runs": min(runs, quick.runs), "training": training}
            if row.recipe:
                changes["recipe_changes"] = (*row.recipe_changes, *_fewer_epochs(row.recipe, quick.epochs))
            if hasattr(row.model, "c_grid") and row.model.c_grid:  # type: ignore[union-attr]
                changes["model"] = _smaller_grids(row.model)
        rows.append(row.model_copy(update=changes))
    n = min(study.n_variants, quick.n_variants) if asked.quick else study.n_variants
    return study.model_copy(update={"rows": tuple(rows), "n_variants": n})


def under_protocol(study: Study, name: str) -> Study:
    """The study with the changes that a protocol makes to every row's training.

    Raises:
        ConfigError: a change does not go with a row's training.
    """
    changes = study.protocols[name].training
    if not changes:
        return study
    rows = []
    for row in study.rows:
        try:
            training = TrainingConfig.model_validate(row.training.model_dump() | changes)
        except ValidationError as error:
            rule = rule_of(error.errors()[0])
            where = f"study {study.name}, row {row.id}"
            raise ConfigError(complaint(where, f"protocols.{name}.training", changes, rule)) from error
        rows.append(row.model_copy(update={"training": training}))
    return study.model_copy(update={"rows": tuple(rows)})


def _fewer_epochs(recipe: str, epochs: int) -> tuple[str, ...]:
    """Changes to a recipe, one a network."""
    members = load_recipe(recipe).members.items()
    return tuple(f"members.{name}.training.epochs={epochs}" for name, each in members if each.is_network)


def _smaller_grids(model: Any) -> Any:
    """The first two values of each grid."""
    grids = {name: getattr(model, name)[:2] for name in type(model).model_fields if name.endswith("_grid")}
    return model.model_copy(update=grids)


def protocol_of(study: Study, asked: StudyRun) -> str:
    """The protocol asked for, or the study's first. Raises ConfigError for one that it does not have."""
    name = asked.protocol or next(iter(study.protocols))
    if name not in study.protocols:
        rule = f"one of {', '.join(study.protocols)}"
        raise ConfigError(complaint(f"study {study.name}", "--protocol", name, rule))
    return name
