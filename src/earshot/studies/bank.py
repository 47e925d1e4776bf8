"""Views of every clip and of its augmented copies, computed once and kept on disk; the copies themselves never are.

Conventions: an array is [N, V, *shape], clip by clip, variant 0 being the clip itself; what is on disk depends on
the clips' content, the view, the steps, the seed and the libraries, and on nothing else. The copies of a clip are
the same wherever it stands in the table, and whichever thread makes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.audio.features import FEATURES, FeatureConfig
from earshot.audio.threads import over_rows
from earshot.audio.transforms import StepConfig, apply_steps
from earshot.monitor import Monitor
from earshot.studies.data import StudyData
from earshot.training.batches import draw_seed
from earshot.versions import versions

_CLIPS_AT_ONCE = 8  # between two looks at the clock and two marks of progress
_VERSION = 1  # raise when the same clips would give other features


class FeatureBank:
    """The views of a study's clips under `folder`.

    Args:
        n_variants: the clip itself and its copies.
        steps: what makes a copy.
    """

    def __init__(
        self,
        folder: Path,
        data: StudyData,
        *,
        views: Mapping[str, FeatureConfig],
        n_variants: int,
        steps: Sequence[StepConfig],
        seed: int,
    ) -> None:
        self.folder, self.data, self.views = folder, data, dict(views)
        self.n_variants, self.steps, self.seed = n_variants, tuple(steps), seed

    def ensure(self, names: Sequence[str], *, monitor: Monitor) -> None:
        """Computes what is missing of some views, all of them from one pass over the copies of a clip."""
        self.folder.mkdir(parents=True, exist_ok=True)
        slots = [_Slot(self, name) for name in names]
        missing = [i for i in range(len(self.data.clips)) if not all(slot.done[i] for slot in slots)]
        task = f"views {', '.join(names)}"
        n_all = len(self.data.clips)
        for start in range(0, len(missing), _CLIPS_AT_ONCE):
            part = missing[start : start + _CLIPS_AT_ONCE]
            monitor.progress(task, n_all - len(missing) + start, n_all)
            over_rows(lambda i, part=part: self._compute(part[i], slots), len(part))  # type: ignore[misc]
            for slot in slots:
                slot.mark(part)
        if missing:
            monitor.progress(task, n_all, n_all)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one item of a view."""
        return self.views[name].output_shape(self.data.length, rate_hz=self.data.rate_hz)

    def array(self, name: str) -> NDArray[Any]:
        """A view of all clips, mapped from disk [N, V, *shape]; `ensure` comes first."""
        return np.asarray(np.load(self.file(name), mmap_mode="r"))

    def items(self, name: str, rows: NDArray[np.int64], *, n_variants: int) -> Tensor:
        """The first `n_variants` of some clips, one after the other. Shape: [n * n_variants, *shape]."""
        chosen = self.array(name)[rows, :n_variants]
        return torch.from_numpy(np.ascontiguousarray(chosen.reshape(-1, *self.shape(name))))

    def file(self, name: str) -> Path:
        """Where a view lies."""
        return self.folder / f"{name}-{self.key(name)[:16]}.npy"

    def key(self, name: str) -> str:
        """Everything that a view depends on, as a hash."""
        parts = {
            "version": _VERSION,
            "versions": versions(),
            "view": self.views[name].model_dump(mode="json"),
            "steps": [step.model_dump(mode="json") for step in self.steps] if self.n_variants > 1 else [],
            "n_variants": self.n_variants,
            "seed": self.seed if self.n_variants > 1 else 0,
            "clips": [list(each) for each in zip(self.data.contents, self._ranges(), strict=True)],
            "length": self.data.length,
            "rate_hz": self.data.rate_hz,
        } | self._key_of_copies()
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def copies(self, i: int) -> Tensor:
        """Clip i and its copies. Shape: [V, length]."""
        own = torch.from_numpy(self.data.waveform(i))[None]
        if self.n_variants == 1:
            return own
        rng = torch.Generator().manual_seed(draw_seed(self.seed, int(self.name_of(i)[:15], 16)))
        again = own.expand(self.n_variants - 1, -1)
        return torch.cat([own, apply_steps(again, self.steps, rate_hz=self.data.rate_hz, rng=rng)[0]])

    def _key_of_copies(self) -> dict[str, Any]:
        """What else the copies depend on."""
        return {}

    def _ranges(self) -> list[str]:
        table = self.data.clips.table
        return [f"{start}-{end}" for start, end in zip(table["start_s"], table["end_s"], strict=True)]

    def name_of(self, i: int) -> str:
        """The clip's content, wherever it stands in the table."""
        return hashlib.sha256(f"{self.data.contents[i]}{self._ranges()[i]}".encode()).hexdigest()

    def _compute(self, i: int, slots: Sequence[_Slot]) -> None:
        copies = self.copies(i)
        for slot in slots:
            if not slot.done[i]:
                slot.put(i, copies)


class _Slot:
    """The file of one view, and which of its clips are done."""

    def __init__(self, bank: FeatureBank, name: str) -> None:
        config = bank.views[name]
        self._front_end: nn.Module = FEATURES[config.kind](config, bank.data.rate_hz)
        shape = (len(bank.data.clips), bank.n_variants, *bank.shape(name))
        # The kind of number is the front end's own: pictures are bytes.
        with torch.no_grad():
            dtype = self._front_end(torch.zeros(1, bank.data.length)).numpy().dtype
        path, marks = bank.file(name), bank.file(name).with_suffix(".done.npy")
        fresh = not (path.is_file() and marks.is_file())
        self.array = np.lib.format.open_memmap(path, "w+" if fresh else "r+", dtype=dtype, shape=shape)
        self._marks = np.lib.format.open_memmap(
            marks, "w+" if fresh else "r+", dtype=np.dtype(bool), shape=(shape[0],)
        )

    @property
    def done(self) -> NDArray[np.bool_]:
        return self._marks

    def put(self, i: int, copies: Tensor) -> None:
        """Computes a clip's items, one at a time: many would need the memory of many spectrograms."""
        for v in range(len(copies)):
            self.array[i, v] = self._front_end(copies[v : v + 1])[0].numpy()

    def mark(self, rows: Sequence[int]) -> None:
        """Says that some clips are done, after their numbers are on disk."""
        self.array.flush()
        self._marks[list(rows)] = True
        self._marks.flush()
