"""What a study is: views, splits, rows with their published figures, claims and mistakes; see `*.toml` beside it.

Conventions: figures are percent accuracy unless `unit` says otherwise; a study's first protocol is its default.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from earshot.audio.features import FeatureConfig
from earshot.audio.transforms import PUBLISHED_STEPS, StepConfig
from earshot.evaluation.ensemble import COMBINATIONS
from earshot.evaluation.weighting import even_weights
from earshot.models import ModelConfig
from earshot.training.options import TrainingConfig


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Published(_Spec):
    """A figure of the source: its mean, the standard error where several runs were made, and the runs."""

    mean: float
    se: float | None = None
    runs: tuple[float, ...] = ()


class Ensemble(_Spec):
    """Members by pattern (every run of every row that fits is one) and a key of `ensemble.COMBINATIONS`."""

    members: str
    combination: str


# Keys of a row that say how a model is trained or shown; a recipe brings its own training, an ensemble has none.
_OF_MODELS = {
    "view",
    "toy",
    "training",
    "n_translated",
    "translate_share",
    "translate_fill_db",
    "variants",
    "runs",
    "spoiled",
    "published_spoiled",
    "confusion_of_training",
    "curves",
    "layers",
    "published_parameters",
}


class Row(_Spec):
    """One line of a study's table."""

    id: str = Field(pattern=r"^[\w.-]+$")
    label: str
    section: str
    view: str = ""
    toy: Literal["", "regression", "classification"] = ""
    model: ModelConfig | None = None
    training: TrainingConfig = TrainingConfig()
    n_translated: int = Field(
        1, ge=1, description="learn from so many copies of each spectrogram, moved in time"
    )
    translate_share: float = Field(
        0.0, ge=0, le=1, description="by up to this share of its width, either way"
    )
    translate_fill_db: float = Field(-80.0, description="level of the frames that are vacated then")
    variants: bool = Field(True, description="learn from the augmented copies of the clips too")
    ensemble: Ensemble | None = None
    recipe: str = Field("", description="a recipe on the whole clips, as `earshot train` runs it")
    recipe_changes: tuple[str, ...] = Field((), description="`key=value`, as of --set")
    spoiled: bool = Field(False, description="judge the damaged clips of the study's `spoil` too")
    runs: int = Field(1, ge=1, description="trainings that differ by their seed only")
    published: Published | None = None
    published_clip: Published | None = Field(None, description="a clip, where `published` is of its segments")
    published_spoiled: Published | None = None
    unit: Literal["percent", "loss"] = "percent"
    note: str = ""
    cell: tuple[int | str, int | str] | None = Field(
        None, description="line and column in a section drawn as a grid"
    )
    curves: Literal["", "error", "accuracy"] = Field("", description="what is drawn beside the loss")
    confusion: bool = False
    confusion_of_training: bool = False
    layers: bool = Field(False, description="list the layers with shapes and parameters")
    published_parameters: int | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Row:
        if sum((self.ensemble is not None, self.model is not None, bool(self.recipe))) != 1:
            raise ValueError("a row has a model, an ensemble or a recipe")
        if self.model is not None and bool(self.view) == bool(self.toy):
            raise ValueError("a row with a model has a view or a toy")
        without_use = sorted(self.model_fields_set & _OF_MODELS) if self.model is None else []
        if without_use:
            raise ValueError(f"only a row with a model has {', '.join(without_use)}")
        if any(change.partition("=")[0].strip() == "seed" for change in self.recipe_changes):
            raise ValueError("the seed of a recipe is the study's")
        return self


class Choice(_Spec):
    """Classes that a study can be about; `note` is said where this choice is taken."""

    names: tuple[str, ...] = Field(min_length=2)
    note: str = ""


class Segments(_Spec):
    """Recordings are cut into segments of the study's `window_s`; each is an item, and clips are their means."""

    hop_s: float = Field(gt=0, description="between the segments that are judged")
    training_hop_s: float = Field(
        gt=0, description="between those that are learned from; a whole part of `hop_s`"
    )
    even: bool = Field(False, description="repeat segments of the rarer classes to learn from all alike")
    gate: float | None = Field(
        None, description="a segment is silent if no sample of the standardised sound is above this"
    )

    @model_validator(mode="after")
    def _is_a_part(self) -> Segments:
        times = self.hop_s / self.training_hop_s
        if round(times) < 1 or abs(times - round(times)) > 1e-6:
            raise ValueError("hop_s must be a whole number of times training_hop_s")
        return self


class Spoil(_Spec):
    """Damage done to the judged clips of the rows that are `spoiled`; see `earshot.audio.corruptions`."""

    corruptions: tuple[str, ...] = Field(min_length=1)
    severities: tuple[int, ...] = Field((3, 5), min_length=1, description="1, the mildest, to 5")


class Protocol(_Spec):
    """How clips are split, and what is done to each side."""

    split: Literal["folds", "random", "given"] = Field(
        "folds", description="given: the data's own test split, folds where it has none"
    )
    folds: tuple[int, ...] = Field((), description="judge these official folds only; none: all of them")
    test_share: float = Field(0.2, gt=0, lt=1, description="of each class, for a random split by file")
    augmented_test: bool = Field(False, description="judge on every copy of a clip, not on the clip alone")
    standardise: Literal["", "recording", "class"] = Field(
        "", description="segments by the statistics of their recording, or of their class on their side"
    )
    gate_judged: bool = Field(True, description="silent segments are not judged either")
    inner_by: Literal["group", "item"] = Field(
        "group", description="what is set aside whole to stop by and to choose weights by"
    )
    copies_grouped: bool = Field(
        False, description="recordings that hold the same audio are one group, as the audit finds them"
    )
    training: dict[str, bool | int | float | str] = Field({}, description="changes to every row's training")
    about: str


class Section(_Spec):
    """A part of the table."""

    id: str
    title: str
    about: str = ""
    grid: str = Field("", description="what the lines of a grid are, such as `first kernel`; none: a list")


class Quick(_Spec):
    """How much a quick run does: it shows that every row works, its figures mean little."""

    clips_per_class_and_fold: int = Field(2, ge=1)
    n_variants: int = Field(2, ge=1)
    n_folds: int = Field(2, ge=1)
    runs: int = Field(2, ge=1)
    epochs: int = Field(2, ge=1)
    toy_epochs: int = Field(30, ge=1)


class Claim(_Spec):
    """A trend that the source states, in a form that can be tested; `left` and `right` are patterns of row ids."""

    text: str
    kind: Literal["higher", "not_higher", "same", "chance", "turns", "overfits", "above", "about"]
    left: str
    right: str = ""
    value: float = Field(
        0.0,
        description="above, about: percent; overfits: points; turns: epoch; chance: so many rows, 1 at least",
    )
    within: float = Field(5.0, gt=0, description="about: so many points either way still are")
    per: Literal["item", "clip", "spoiled"] = Field(
        "item", description="what is counted: clips where they are cut up, clean or damaged ones"
    )

    @model_validator(mode="after")
    def _has_both_sides(self) -> Claim:
        if self.kind in ("higher", "not_higher", "same") and not self.right:
            raise ValueError(f"kind = {self.kind} compares left with right")
        return self


class Step(_Spec):
    """A step of the progress table: the best of some rows."""

    label: str
    rows: str
    published: float


class Mistake(_Spec):
    """What the source got wrong, what that costs, and what is done here."""

    what: str
    cost: str
    here: str


class Study(_Spec):
    """A whole study."""

    name: str
    title: str
    source: str
    about: str
    seed: int = 0
    rate_hz: int = Field(44_100, ge=1_000)
    window_s: float = Field(5.0, gt=0)
    folders: tuple[str, ...] = Field(
        ("ESC-50", "ESC-50-master", "esc50", "ESC-10", "esc10"),
        min_length=1,
        description="where its data are looked for",
    )
    get: str = Field(
        "Give the folder of ESC-50 or ESC-10 with --data, or its parent in EARSHOT_DATA.",
        description="how to come by them",
    )
    groups: str = Field("source recordings", description="what folds keep whole and intervals are drawn over")
    segments: Segments | None = None
    spoil: Spoil | None = None
    classes: tuple[Choice, ...] = Field(min_length=1, description="best first")
    n_variants: int = Field(1, ge=1, description="the clip itself and its augmented copies")
    steps: tuple[StepConfig, ...] = Field((), description="what makes a copy; none: as published for ESC-10")
    views: dict[str, FeatureConfig]
    protocols: dict[str, Protocol] = Field(min_length=1)
    sections: tuple[Section, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)
    quick: Quick = Quick()
    claims: tuple[Claim, ...] = ()
    ladder: tuple[Step, ...] = ()
    baseline: str = Field(
        "", description="row that all others are compared with, in a table of everything tried"
    )
    mistakes: tuple[Mistake, ...] = ()
    pictures: str = Field("", description="view whose pictures are shown a class a row")

    @model_validator(mode="after")
    def _fits_together(self) -> Study:
        sections = {section.id: section for section in self.sections}
        if len(ids := [row.id for row in self.rows]) != len(set(ids)):
            raise ValueError(f"row ids must differ: {sorted(i for i in ids if ids.count(i) > 1)}")
        if self.segments is not None and self.n_variants > 1:
            raise ValueError("segments have no augmented copies: n_variants = 1")
        if self.baseline and self.baseline not in ids:
            raise ValueError(f"baseline {self.baseline!r} is not a row")
        for row in self.rows:
            if row.spoiled and self.spoil is None:
                raise ValueError(f"row {row.id}: nothing says how clips are spoiled")
            for name, protocol in self.protocols.items():
                if fault := self._misfit(row, protocol):
                    raise ValueError(f"row {row.id}, protocol {name}: {fault}")
            if row.section not in sections or (row.view and row.view not in self.views):
                raise ValueError(f"row {row.id}: no section {row.section!r} or no view {row.view!r}")
            if sections[row.section].grid and row.cell is None:
                raise ValueError(f"row {row.id}: section {row.section!r} is a grid, and the row has no cell")
        patterns = [
            (f"claim {claim.text!r}", side) for claim in self.claims for side in (claim.left, claim.right)
        ]
        patterns += [(f"step {step.label!r}", step.rows) for step in self.ladder]
        for where, pattern in patterns:
            if pattern and not self.matching(pattern):
                raise ValueError(f"{where}: no row fits {pattern!r}")
        return self

    def _misfit(self, row: Row, protocol: Protocol) -> str:
        """What of a row cannot be done under a protocol; nothing where it can."""
        if protocol.augmented_test and protocol.split != "random" and row.ensemble is not None:
            how = COMBINATIONS.get(row.ensemble.combination)
            if how is not None and how.weigher is not even_weights:
                return (
                    "weights are fitted on folds of clips without copies: no augmented_test, or split random"
                )
        if protocol.augmented_test and (row.spoiled or row.recipe):
            return "only clips are spoiled, and recipes judge only clips, not their copies: no augmented_test"
        if protocol.standardise and row.spoiled:
            return "spoiled segments are not standardised: no standardise"
        view = self.views.get(row.view)
        if protocol.standardise and view is not None and view.kind != "waveform":
            return f"standardise is for samples, kind = waveform; the view {row.view!r} is {view.kind}"
        return ""

    @property
    def copy_steps(self) -> tuple[StepConfig, ...]:
        """What makes the copies of a clip; nothing where there are none."""
        return (self.steps or PUBLISHED_STEPS) if self.n_variants > 1 else ()

    def matching(self, patterns: str) -> tuple[Row, ...]:
        """Rows whose id fits one of the patterns, `cnn2d-*` or `knn-3,knn-7`."""
        wanted = patterns.split(",")
        return tuple(row for row in self.rows if any(fnmatchcase(row.id, each.strip()) for each in wanted))
