"""Sound files to a CSV of predictions: `earshot predict` against the usual loop with librosa and PyTorch.

Both score ESC-10 with the same model folder, a default recipe after one epoch: what the weights say does not
change how long they take. earshot computes the whole model, five networks and five support vector machines. The
loop loads, resamples and scores clip by clip in plain float32 and computes the networks only, so it does less.
Files are cold for earshot, which decodes them anew; the system has them in its page cache for both.
"""

from __future__ import annotations

import copy
import csv
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import cost, data_folder, earshot, seconds, table
from earshot.audio.log_mel import LogMelConfig
from earshot.deploy.bundle import Bundle
from earshot.deploy.predict import RowWriter, predict_paths, prediction_rows
from earshot.deploy.weights import read_member
from earshot.models.cnn2d import Cnn2d
from earshot.models.member import NetworkMember

N_ROUNDS = 3
_SHORT = ("--set", "members.cnn.training.epochs=1", "--set", "n_folds=5")


class Plain(nn.Module):
    """The layers of a `Cnn2d` as a textbook would run them: torch's modules, default memory format."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        assert isinstance(network, Cnn2d)
        own = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.mean, self.deviation = own.scaler.mean, own.scaler.deviation
        self.blocks, self.head = own.blocks, own.head
        self.eval()

    def forward(self, levels: Tensor) -> Tensor:
        """Shape: [B, M, F] -> [B, K]."""
        over_time = self.blocks(((levels - self.mean) / self.deviation)[:, None]).mean(dim=2)
        logits: Tensor = self.head(over_time.mean(dim=2) + over_time.amax(dim=2))
        return logits


class Loop:
    """Load, log-mel, networks, one clip at a time: the peer, on the networks of a model folder."""

    def __init__(self, model: Path) -> None:
        bundle = Bundle.load(model, device="cpu")
        config, family = bundle.config, bundle.config.members["cnn"]
        if not isinstance(family.config.features, LogMelConfig):
            raise TypeError("the peer knows log-mel networks only")
        self.classes, self.rate_hz, self.length = bundle.classes, config.rate_hz, config.window_samples
        self.mel = family.config.features
        self.members: list[NetworkMember] = []
        self.networks: list[Plain] = []
        for file in family.files:
            member = read_member(
                model / file,
                family.config,
                rate_hz=config.rate_hz,
                window_samples=config.window_samples,
                n_classes=len(bundle.classes),
                multilabel=config.multilabel,
                device="cpu",
            )
            assert isinstance(member, NetworkMember)
            self.members.append(member)
            self.networks.append(Plain(member.network))

    def levels(self, path: Path) -> NDArray[np.float32]:
        """Log-mel levels of a file. Shape: [M, F]."""
        samples, _ = librosa.load(path, sr=self.rate_hz)
        power = librosa.feature.melspectrogram(
            y=np.resize(samples, self.length),
            sr=self.rate_hz,
            n_fft=self.mel.n_fft,
            hop_length=self.mel.hop_length,
            n_mels=self.mel.n_mels,
        )
        decibels: NDArray[np.float32] = librosa.power_to_db(power, amin=1e-10, top_db=None)
        return decibels

    def probs(self, path: Path) -> NDArray[np.float32]:
        """Mean probabilities of the networks. Shape: [K]."""
        features = torch.from_numpy(self.levels(path))[None]
        with torch.inference_mode():
            each = [network(features).softmax(dim=1)[0] for network in self.networks]
        return np.asarray(torch.stack(each).mean(dim=0).numpy(), dtype=np.float32)

    def write(self, paths: Sequence[Path], output: Path) -> None:
        """A row of probabilities a file."""
        with output.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", *self.classes))
            for path in paths:
                writer.writerow((path.name, *self.probs(path).tolist()))


def trained(data: Path, folder: Path) -> Path:
    """A model folder of the default recipe after one epoch."""
    cost(earshot("train", data, "-o", folder, "--quiet", *_SHORT))
    return folder / "model"


def with_earshot(bundle: Bundle, paths: Sequence[Path], output: Path) -> None:
    """What `earshot predict` does once its modules and the model are loaded."""
    clips, scored = predict_paths(bundle, paths)
    with RowWriter(output) as writer:
        for row in prediction_rows(bundle, clips, scored):
            writer.write(row)


def difference(bundle: Bundle, loop: Loop, paths: Sequence[Path]) -> float:
    """The largest difference of a probability between the peer and earshot's networks alone."""
    families = {"cnn": bundle.config.members["cnn"].model_copy(update={"weight": 1.0})}
    alone = bundle.config.model_copy(update={"members": families})
    networks = Bundle(alone, {"cnn": loop.members})
    _, scored = predict_paths(networks, paths)
    return max(
        float(np.abs(probs - loop.probs(path)).max())
        for path, (_, probs) in zip(paths, scored, strict=True)
        if probs is not None
    )


def main(*, n_clips: int | None = None, n_rounds: int = N_ROUNDS, model: Path | None = None) -> str:
    """The table of clips/s; `n_clips` of the files and a finished `model` make a quick look."""
    data = data_folder("esc10")
    paths = sorted(data.rglob("*.ogg"))[:n_clips]
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model or trained(data, folder / "run")
        bundle, loop = Bundle.load(model, device="cpu"), Loop(model)
        command = earshot("predict", model, *paths, "-o", folder / "ours.csv", "--quiet", "--device", "cpu")
        rounds = [
            (
                cost(command).seconds,
                seconds(lambda: with_earshot(bundle, paths, folder / "ours.csv")),
                seconds(lambda: loop.write(paths, folder / "theirs.csv")),
            )
            for _ in range(n_rounds)
        ]
        off = difference(bundle, loop, paths[:10])
    process, inside, peer = (statistics.median(column) for column in zip(*rounds, strict=True))
    rows = [
        (what, f"{len(paths) / s:.1f}", f"{peer / s:.1f}x", target)
        for what, s, target in (
            ("`earshot predict`, whole process", process, ""),
            ("the same, modules and model loaded", inside, ">= 4x"),
            ("librosa and PyTorch, modules and model loaded", peer, ""),
        )
    ]
    note = (
        f"{len(paths)} clips, medians of {n_rounds} rounds. The largest difference of a probability between the "
        f"peer and earshot's networks alone is {off:.1e} on 10 clips; earshot scores in the precision that the "
        "processor multiplies fastest."
    )
    return table(("files to CSV", "clips/s", "against the peer", "target"), rows, note=note)


if __name__ == "__main__":
    print(main())
