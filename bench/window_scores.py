"""How clips of many lengths are best scored from their windows, and whether quiet windows are best skipped.

Every combination of model, window, gate and seed is cross-validated once, folds by recording; each held-out clip's
windows are then pooled by every rule, so that rules are compared on the same trained models. An interval is a 95 %
bootstrap over clips of the difference to the mean of the same (for gates: to the mean without a gate), each clip's
result averaged over the seeds. The table chooses between few fixed settings on all clips: as a score of the chosen
one it flatters a little.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import data_folder, table
from earshot.audio.log_mel import LogMelConfig
from earshot.audio.statistics import StatisticsConfig
from earshot.audio.windows import Gate
from earshot.data.readers import read_clips
from earshot.data.splits import k_folds
from earshot.hearing import Heard, hear
from earshot.models.classical import ClassicalConfig, SvmConfig
from earshot.models.cnn2d import Cnn2dConfig
from earshot.models.member import ClassicalMember, Member
from earshot.models.pooling import WINDOW_SCORES, pool_windows
from earshot.monitor import Silent
from earshot.recipe import AudioConfig
from earshot.training.batches import draw_seed
from earshot.training.checkpoint import Checkpoint
from earshot.training.estimators import balanced, fit_calibrated
from earshot.training.fold import FoldData, MemberConfig, build_front_end, features_of
from earshot.training.members import fit_member
from earshot.training.options import TrainingConfig

RATE_HZ = 16_000
SEEDS = range(3)
N_LEARNED = 8  # windows of a clip that a classical model learns from, as in training/estimators.py
# Window in seconds and gate in dB; of 5 s, nearly every window of these clips is loud.
SETTINGS: dict[str, tuple[tuple[float, float | None], ...]] = {
    "statistics, SVM": ((5.0, None), (1.0, None), (1.0, 20.0), (1.0, 10.0)),
    "log-mel, small CNN": ((1.0, None), (1.0, 10.0)),
}
MODELS = {
    "statistics, SVM": MemberConfig(features=StatisticsConfig(), model=SvmConfig()),
    "log-mel, small CNN": MemberConfig(
        features=LogMelConfig(n_fft=512, hop_length=320, n_mels=32),
        model=Cnn2dConfig(n_stem_channels=8, block_channels=(16, 24)),
        training=TrainingConfig(epochs=8, batch_size=16, watch_every=8),
    ),
}

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """What each clip got, averaged over seeds: right or wrong [N], log loss [N]."""

    right: Floats
    loss: Floats


def main() -> str:
    """The table: a row a model, window, gate and rule."""
    audio = AudioConfig(rate_hz=RATE_HZ)
    heard = hear(read_clips(data_folder("cats-dogs") / "train"), audio, monitor=Silent())
    rows = []
    for name, model in MODELS.items():
        plain: dict[float, Result] = {}
        for window_s, gate_db in SETTINGS[name]:
            results = cross_validated(heard, model, window_s=window_s, gate=Gate(gate_db))
            plain.setdefault(window_s, results["mean"])
            for rule, result in results.items():
                base = plain[window_s] if rule == "mean" else results["mean"]
                gate = "none" if gate_db is None else f"{gate_db:g} dB"
                rows.append([name, f"{window_s:g} s", gate, rule, *cells(result, base)])
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return table(
        ("model", "window", "gate", "clip score", "accuracy", "difference", "log loss", "difference"), rows
    )


def cells(result: Result, base: Result) -> list[str]:
    """Accuracy and log loss, each with its difference to the base and the 95 % interval of that."""
    texts = [f"{100 * result.right.mean():.1f} %", "", f"{result.loss.mean():.3f}", ""]
    if result is not base:
        texts[1] = between(100 * (result.right - base.right), digits=1)
        texts[3] = between(result.loss - base.loss, digits=3)
    return texts


def between(differences: Floats, *, digits: int) -> str:
    """Mean difference of clips [N], and its bootstrap interval."""
    rng = np.random.default_rng(0)
    means = differences[rng.integers(len(differences), size=(4_000, len(differences)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{differences.mean():+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def cross_validated(heard: Heard, model: MemberConfig, *, window_s: float, gate: Gate) -> dict[str, Result]:
    """The result of every rule."""
    clips, length = heard.clips, round(window_s * RATE_HZ)
    every = np.arange(len(clips))
    data = FoldData(
        view=heard.view,
        targets=clips.targets,
        groups=clips.groups,
        train=every,
        test=every[:0],
        length=length,
        hop=length,
        rate_hz=RATE_HZ,
        multilabel=False,
        gate=gate,
    )
    features, owners = features_of(build_front_end(model, RATE_HZ), data, every)
    right = {rule: np.zeros(len(clips)) for rule in WINDOW_SCORES}
    loss = {rule: np.zeros(len(clips)) for rule in WINDOW_SCORES}
    for seed in SEEDS:
        for number, fold in enumerate(k_folds(clips, seed=seed)):
            fold_seed = draw_seed(seed, number)
            if model.is_network:
                member = fitted_network(model, replace(data, train=fold.train), seed=fold_seed)
            else:
                member = fitted_classical(model, data, features, owners, rows=fold.train, seed=fold_seed)
            held_out = np.isin(owners, fold.test)
            probs = np.concatenate([member.predict_features(p) for p in torch.split(features[held_out], 32)])
            whose, truth = np.searchsorted(fold.test, owners[held_out]), clips.labels[fold.test]
            for rule in WINDOW_SCORES:
                pooled = pool_windows(probs, whose, score=rule)
                right[rule][fold.test] += (pooled.argmax(axis=1) == truth) / len(SEEDS)
                likely = np.clip(pooled[np.arange(len(truth)), truth], 1e-6, 1)
                loss[rule][fold.test] += -np.log(likely) / len(SEEDS)
    return {rule: Result(right[rule], loss[rule]) for rule in WINDOW_SCORES}


def fitted_network(model: MemberConfig, data: FoldData, *, seed: int) -> Member:
    """As `earshot train` fits it."""
    with tempfile.TemporaryDirectory() as folder:
        return fit_member(
            model,
            data,
            seed=seed,
            device="cpu",
            checkpoint=Checkpoint(Path(folder) / "fold", identity="bench"),
            on_progress=lambda done, total: None,
        ).member


def fitted_classical(
    model: MemberConfig, data: FoldData, features: Tensor, owners: Rows, *, rows: Rows, seed: int
) -> Member:
    """As `earshot train` fits it, on features that are there already: they are the same in every fold."""
    assert isinstance(model.model, ClassicalConfig)
    learned = [
        own[np.linspace(0, len(own) - 1, min(N_LEARNED, len(own))).astype(int)]
        for own in (np.flatnonzero(owners == row) for row in rows)
    ]
    chosen = np.concatenate(learned)
    estimator, temperature = fit_calibrated(
        balanced(model.model, data.targets[rows]),
        features[torch.from_numpy(chosen)].flatten(1).numpy(),
        targets=data.targets[owners[chosen]],
        groups=data.groups[owners[chosen]],
        seed=seed,
    )
    n_classes = data.targets.shape[1]
    return ClassicalMember(torch.nn.Identity(), estimator, n_classes=n_classes, temperature=temperature)
