"""The folder of a run: one process at a time, whole files, finished folds kept for the next start."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from earshot.deploy.weights import read_member, weights_suffix, write_weights
from earshot.errors import BundleError, EarshotError, Words, complaint
from earshot.files import metadata_of, remove_partial, write_whole
from earshot.training.checkpoint import Checkpoint
from earshot.training.members import FittedFold, FoldData, MemberConfig


class RunFolder:
    """Files of a run under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run; the system lets go of it when the process ends, however it ends.

        Raises:
            EarshotError: another process holds it.
        """
        with (self.root / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise EarshotError(
                    f"{self.root}: another earshot is working in this run folder. Wait for it, or choose "
                    "another -o."
                ) from error
            except OSError as error:
                fix = "Choose -o on a disk of this machine and copy the run when it is finished."
                raise EarshotError(
                    complaint(self.root, "file system", error.strerror, "one that can lock a file", fix)
                ) from error
            # Where only the holder of the lock writes; anybody may be writing rows or pages into the folder itself.
            remove_partial(*self.root.glob("folds/*/"), self.root / "experiments")
            yield

    def remove_if_empty(self) -> None:
        """Removes the folder of a run that came to nothing, while it is locked."""
        if [each.name for each in self.root.iterdir()] == [".lock"]:
            (self.root / ".lock").unlink()
            self.root.rmdir()

    def claim(self, recipe_toml: str) -> None:
        """Writes experiment.toml, after `check`."""
        self.check(recipe_toml)
        self.write("experiment.toml", recipe_toml)

    def check(self, recipe_toml: str) -> None:
        """A run folder belongs to one recipe: another would mix its results with the old.

        Raises:
            EarshotError: the folder holds a run with another recipe, or files that are no run's.
        """
        path = self.root / "experiment.toml"
        others = sorted(each.name for each in self.root.iterdir() if not each.name.startswith("."))
        if others and not path.is_file():
            rule, fix = "a new folder or one of the same run", "Choose another folder with -o."
            raise EarshotError(
                complaint(self.root, "run folder", Words(f"one that holds {others[0]}"), rule, fix)
            )
        if path.is_file() and _meaning(path.read_text()) != _meaning(recipe_toml):
            raise EarshotError(
                f"{self.root}: the folder holds a run with another recipe (see its experiment.toml). "
                "Choose another folder with -o."
            )

    def check_data(self, contents: Sequence[str], classes: Sequence[str]) -> None:
        """Results of other data are not overwritten; data may grow and shrink.

        Args:
            contents: hash of each clip's file, as in the `content` of clips.csv.

        Raises:
            EarshotError: the run that is finished here was on none of these files, or of these classes.
        """
        try:
            before = json.loads((self.root / "metrics.json").read_text(encoding="utf-8"))
            with (self.root / "clips.csv").open(encoding="utf-8", newline="") as file:
                heard = {row["content"] for row in csv.DictReader(file)} - {""}
            known = set(before["classes"])
        except (OSError, KeyError, TypeError, ValueError, csv.Error):
            return  # no finished run, or one that somebody has taken apart
        if (heard and heard.isdisjoint(contents)) or known.isdisjoint(classes):
            raise EarshotError(
                f"{self.root}: the folder holds a run on other data (see its clips.csv). "
                "Choose another folder with -o."
            )

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file of the run, whole or not at all."""
        write_whole(self.root / name, content)

    def log(self, text: str) -> None:
        """Adds a line to log.txt."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with (self.root / "log.txt").open("a") as file:
            file.write(f"{stamp} {text}\n")


def _meaning(recipe_toml: str) -> dict[str, Any]:
    """All of a recipe but what is said of it; where it cannot be read it is like no other."""
    try:
        return {key: value for key, value in tomllib.loads(recipe_toml).items() if key != "description"}
    except tomllib.TOMLDecodeError:
        return {"unreadable": recipe_toml}


class FoldFile:
    """What one member's training on one fold left behind; valid for one identity only.

    Args:
        identity: everything that the result depends on.
    """

    def __init__(
        self, run: RunFolder, *, member: str, fold: str, config: MemberConfig, identity: Any
    ) -> None:
        self.folder = run.root / "folds" / f"{member}-{fold}"
        self.config = config
        self.identity = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.weights = self.folder / f"weights{weights_suffix(config)}"
        self.checkpoint = Checkpoint(self.folder / "checkpoint", identity=self.identity)

    def save(self, fitted: FittedFold, *, seconds: float) -> None:
        """Writes weights, then held-out probabilities; the checkpoint goes when both are safe."""
        held_out = self.folder / "held_out.safetensors"
        held_out.unlink(missing_ok=True)  # it vouches for the weights beside it, and these go now
        write_weights(self.weights, fitted.member)
        about = {
            "identity": self.identity,
            "history": json.dumps(fitted.history),
            "temperature": json.dumps(fitted.member.temperature),
            "seconds": json.dumps(seconds),
        }
        body = safetensors.numpy.save({"probs": np.ascontiguousarray(fitted.probs)}, metadata=about)
        write_whole(held_out, body)
        self.checkpoint.remove()

    def load(self, data: FoldData, *, device: str) -> tuple[FittedFold, float] | None:
        """The finished fold and its seconds; None where it must be trained (again)."""
        try:
            body = (self.folder / "held_out.safetensors").read_bytes()
            probs = safetensors.numpy.load(body)["probs"]
            about = metadata_of(body)
            if about["identity"] != self.identity:
                return None
            member = read_member(
                self.weights,
                self.config,
                rate_hz=data.rate_hz,
                window_samples=data.length,
                n_classes=data.targets.shape[1],
                multilabel=data.multilabel,
                device=device,
                temperature=json.loads(about["temperature"]),
            )
        except (OSError, SafetensorError, KeyError, ValueError, BundleError):
            return None
        return FittedFold(member, probs, json.loads(about["history"])), json.loads(about["seconds"])
