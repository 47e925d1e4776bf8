"""A model folder: everything needed to hear as the model heard in training, and nothing that can run code.

    config.json      classes, every preprocessing value, members and their weights, versions
    NAME-FOLD.safetensors / NAME-FOLD.skops   weights of networks / scikit-learn members
    golden/golden.safetensors   a few synthetic sounds and the probabilities they must give
    novelty.safetensors         detectors of sounds that are none of the classes, if there are any
    trained_on.safetensors      which contents it was trained on, as the first 64 bits of their SHA-256
    README.md        the model card
    manifest.json    SHA-256 and size of every file above

Loading checks sizes and digests before anything is parsed, then scores the golden sounds and refuses a bundle that
does not reproduce them.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

import earshot
from earshot.audio import windows
from earshot.deploy.config import CLIP_SCORES, BundleConfig, BundleMember, new_config, read_config
from earshot.deploy.decisions import DecisionsData
from earshot.deploy.golden import check_golden, golden_bytes
from earshot.deploy.manifest import check_manifest, whole_folder, write_manifest
from earshot.deploy.novelty import (
    NOVELTY_FILE,
    NoveltyModel,
    WithEmbedding,
    embedding_width,
    read_novelty,
)
from earshot.deploy.weights import read_member, write_weights
from earshot.errors import BundleError, ConfigError, complaint
from earshot.evaluation.ensemble import pool
from earshot.files import write_whole
from earshot.models.member import Member, pick_device
from earshot.models.scoring import score_clips

__all__ = ["Bundle", "BundleConfig", "BundleMember", "Judgement", "card_scores", "environment", "new_config"]


@dataclass(frozen=True)
class Judgement:
    """What a model says of a clip: probabilities [K], and its novelty where the model has detectors."""

    probs: NDArray[np.float32]
    novelty: float | None


class Bundle:
    """A loaded model: clips in, one row of probabilities per clip out."""

    def __init__(
        self,
        config: BundleConfig,
        fitted: Mapping[str, Sequence[Member]],
        *,
        card: str = "",
        trained_on: Iterable[str] = (),
        novelty: NoveltyModel | None = None,
    ) -> None:
        self.config = config
        self.novelty = novelty
        self.card = card
        self.trained_on = frozenset(content[:16] for content in trained_on if content)
        self._names = list(config.members)
        self._fitted = {name: list(fitted[name]) for name in self._names}
        share_front_ends(self._fitted, config)
        self._hearing: list[WithEmbedding] = []
        self._calibrator = config.decisions.build_calibrator(multilabel=config.multilabel)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def rate_hz(self) -> int:
        return self.config.rate_hz

    def heard_in_training(self, content: str) -> bool:
        """Whether a file with this SHA-256 was among the training clips: a score on it would be no score."""
        return content[:16] in self.trained_on

    @property
    def families(self) -> Mapping[str, Sequence[Member]]:
        """The fold models of each member; members of equal features share one front end."""
        return self._fitted

    def score(self, clips: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.float32]]:
        """Probabilities [K] of each clip, in order; clips are int16 [T_i] at `rate_hz`, mono, T_i >= 1."""
        for rows in self._scored(clips, self._flat):
            yield self._together(rows)

    def judge(self, clips: Iterable[NDArray[np.int16]]) -> Iterator[Judgement]:
        """As `score`, with the novelty of each clip."""
        if self.novelty is None:
            yield from (Judgement(probs, None) for probs in self.score(clips))
            return
        widths = {name: self._widths(name)[0] for name in self.novelty.detectors}
        most = max(widths.values())
        self._hearing = self._hearing or [WithEmbedding(member, width=most) for member in self._flat]
        n_classes = len(self.classes)
        for rows in self._scored(clips, self._hearing):
            by_name = dict(zip(self._names, self._split(rows[:, n_classes:]), strict=True))
            embeddings = {name: by_name[name][:, :width] for name, width in widths.items()}
            yield Judgement(self._together(rows[:, :n_classes]), self.novelty.score(embeddings))

    def score_waveforms(self, waveforms: Iterable[NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
        """Probabilities [N, K] of float waveforms [T_i] in [-1, 1] at `rate_hz`."""
        rows = list(self.score(windows.to_int16(np.asarray(w, np.float32)) for w in waveforms))
        return np.stack(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def described(self, scores: Mapping[str, Any], card: str) -> Bundle:
        """The same model, carrying the scores it was measured with and its card."""
        config = self.config.model_copy(update={"scores": dict(scores)})
        return self._changed(config, card=card, novelty=self.novelty)

    def deciding(self, decisions: DecisionsData, novelty: NoveltyModel | None = None) -> Bundle:
        """The same model with other calibration, limits, sets and detectors."""
        config = self.config.model_copy(update={"decisions": decisions})
        return self._changed(config, card=self.card, novelty=novelty)

    def by_window(self) -> Bundle:
        """The same model for windows as clips: what it says of each alone, also of one that a gate would skip."""
        every = {"gate_db": None, "gate_dbfs": None, "clip_score": CLIP_SCORES["mean"]}
        return self._changed(self.config.model_copy(update=every), card=self.card, novelty=self.novelty)

    def _changed(self, config: BundleConfig, *, card: str, novelty: NoveltyModel | None) -> Bundle:
        return Bundle(config, self._fitted, card=card, trained_on=self.trained_on, novelty=novelty)

    @property
    def _flat(self) -> list[Member]:
        return [member for name in self._names for member in self._fitted[name]]

    def _scored(
        self, clips: Iterable[NDArray[np.int16]], members: Sequence[Member]
    ) -> Iterator[NDArray[np.float32]]:
        return score_clips(
            clips,
            members,
            length=self.config.window_samples,
            hop=self.config.hop_samples,
            gate=self.config.gate,
            window_score=self.config.window_score,
            multilabel=self.config.multilabel,
            n_classes=len(self.classes),
        )

    def _split(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Rows of all fold models, taken apart by member. Shape: [M, ...] -> a [F, ...] each."""
        return np.split(rows, np.cumsum([len(self._fitted[name]) for name in self._names])[:-1])

    def _together(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fold models averaged, members pooled, the pool calibrated. Shape: [M, K] -> [K]."""
        weights = [self.config.members[name].weight for name in self._names]
        families = np.stack([part.mean(axis=0) for part in self._split(rows)])
        probs = pool(families[:, None], weights, multilabel=self.config.multilabel)[0]
        return probs if self._calibrator is None else self._calibrator.apply(probs)

    def _widths(self, name: str) -> list[int]:
        """Numbers of the embedding of each fold model of a member."""
        shape = self.config.members[name].config.features.output_shape(
            self.config.window_samples, rate_hz=self.rate_hz
        )
        return [embedding_width(member, math.prod(shape)) for member in self._fitted[name]]

    def save(self, folder: Path) -> None:
        """Writes the model folder, whole: until then an earlier model in its place stays as it is.

        Raises:
            BundleError: the folder is a file, or holds what is not of a model that was saved there.
        """
        with whole_folder(folder) as new:
            for name in self._names:
                for file, member in zip(self.config.members[name].files, self._fitted[name], strict=True):
                    write_weights(new / file, member)
            write_whole(new / "config.json", self.config.model_dump_json(indent=2) + "\n")
            write_whole(new / "README.md", self.card)
            write_whole(new / "trained_on.safetensors", self._contents_file())
            if self.novelty is not None:
                write_whole(new / NOVELTY_FILE, self.novelty.to_bytes())
            write_whole(new / "golden" / "golden.safetensors", golden_bytes(self))
            write_manifest(new)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Bundle:
        """Reads and checks a model folder.

        Raises:
            BundleError: a file is missing, added, changed, of a kind that could run code, or the golden sounds are
                not reproduced.
        """
        folder = Path(folder)
        checked = check_manifest(folder)
        config = read_config(folder)
        for file in sorted({file for member in config.members.values() for file in member.files} - checked):
            rule = f"one of {', '.join(sorted(checked))}"
            raise BundleError(complaint(folder / "config.json", "weights file", file, rule))
        fitted = {
            name: [_member(folder / file, member, i, config, device) for i, file in enumerate(member.files)]
            for name, member in config.members.items()
        }
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
        bundle = cls(config, fitted, card=card, trained_on=_read_contents(folder))
        check_golden(bundle, folder)
        if config.decisions.novelty is not None:
            if NOVELTY_FILE not in checked:
                raise BundleError(complaint(folder, "file", NOVELTY_FILE, "there, as config.json says"))
            widths = {name: bundle._widths(name) for name in fitted}
            bundle.novelty = read_novelty(folder / NOVELTY_FILE, widths)
        return bundle

    def _contents_file(self) -> bytes:
        contents = np.array(sorted(int(content, 16) for content in self.trained_on), dtype=np.uint64)
        return safetensors.numpy.save({"contents": contents})


def share_front_ends(fitted: Mapping[str, Sequence[Member]], config: BundleConfig) -> None:
    """Gives members of equal features one front end object, so that scoring computes those features once."""
    seen: dict[str, Any] = {}
    for name, members in fitted.items():
        key = config.members[name].config.features.model_dump_json()
        for member in members:
            member.features = seen.setdefault(key, member.features)


def _read_contents(folder: Path) -> list[str]:
    try:
        contents = safetensors.numpy.load((folder / "trained_on.safetensors").read_bytes())["contents"]
        if contents.dtype != np.uint64 or contents.ndim != 1:
            raise ValueError(f"{contents.dtype} {contents.shape}; expected uint64 [n]")
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{folder}: trained_on cannot be read ({error}). Train again.") from error
    return [f"{int(content):016x}" for content in contents]


def _member(path: Path, family: BundleMember, i: int, config: BundleConfig, device: str) -> Member:
    try:
        return read_member(
            path,
            family.config,
            rate_hz=config.rate_hz,
            window_samples=config.window_samples,
            n_classes=len(config.classes),
            multilabel=config.multilabel,
            device=pick_device(device),
            temperature=family.temperatures[i],
        )
    except ConfigError as error:
        raise BundleError(f"{path}: {error}") from error


def environment() -> dict[str, str]:
    """Versions and machine, for reports and model cards."""
    return {
        "earshot": earshot.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", "") or platform.machine(),
        "threads": str(torch.get_num_threads()),
    }


def card_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The scores that a model carries with it."""
    names = (
        *(
            "accuracy",
            "accuracy_ci95",
            "balanced_accuracy",
            "log_loss",
            "brier",
            "ece",
            "n_clips",
            "n_groups",
        ),
        *("precision", "sets", "novelty"),
    )
    return json.loads(json.dumps({name: metrics.get(name) for name in names if name in metrics}))  # type: ignore[no-any-return]
