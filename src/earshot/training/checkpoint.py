"""The state of an unfinished training, on disk after an epoch: enough to go on as if nothing had happened.

Randomness needs no saving: every epoch draws from seeds made of (seed, epoch) alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from earshot.files import metadata_of, write_whole
from earshot.training.stopping import Judge


class Checkpoint:
    """One file, `path`: network, averaged network, optimiser, judge and history after the last saved epoch.

    Beside it lies the one before, for the day when a disk has spoiled the last.

    Args:
        identity: what the training depends on (configuration, data, fold); a file of another identity is not used.
    """

    def __init__(self, path: Path, *, identity: str) -> None:
        self.path = path
        self.before = path.with_name(f"{path.name}.before")
        self.identity = hashlib.sha256(identity.encode()).hexdigest()

    def save(
        self,
        *,
        epoch: int,
        network: nn.Module,
        average: nn.Module | None,
        optimizer: Optimizer,
        history: list[dict[str, Any]],
        judge: Judge | None = None,
    ) -> None:
        """Writes the state after `epoch` (the number of finished epochs)."""
        tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
        if average is not None:
            tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
        moments, numbers = _flat(optimizer.state_dict()["state"])
        tensors |= {f"optimizer.{k}": v for k, v in moments.items()}
        if judge is not None:
            tensors |= {f"best.{k}": v for k, v in judge.best_weights.items()}
        contiguous = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        plain = {"optimizer": numbers, "judge": judge.numbers() if judge is not None else None}
        about = {
            "epoch": str(epoch),
            "history": json.dumps(history),
            "plain": json.dumps(plain),
            "identity": self.identity,
        }
        body = save(contiguous, metadata=about)
        if self.path.exists():
            self.before.unlink(missing_ok=True)
            with contextlib.suppress(
                OSError
            ):  # not every file system links, and the last one is whole as a rule
                self.before.hardlink_to(self.path)
        write_whole(self.path, body + hashlib.sha256(body).digest())

    def load(
        self,
        *,
        network: nn.Module,
        average: nn.Module | None,
        optimizer: Optimizer,
        judge: Judge | None = None,
    ) -> tuple[int, list[dict[str, Any]]]:
        """Restores the saved state in place.

        Returns:
            Finished epochs and their history; (0, []) where there is no usable file, so that training starts anew.
        """
        read = self._read(self.path)
        if read is None and (read := self._read(self.before)) is not None:
            self.before.replace(self.path)  # or the next save would keep the damaged one in its place
        if read is None:
            return 0, []
        tensors, about = read
        plain = json.loads(about["plain"])
        network.load_state_dict(_below("network.", tensors))
        if average is not None:
            average.load_state_dict(_below("average.", tensors))
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state = _deep(_below("optimizer.", tensors), plain["optimizer"], parameters)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        if judge is not None and plain["judge"] is not None:
            judge.restore(plain["judge"], _below("best.", tensors))
        return int(about["epoch"]), json.loads(about["history"])

    def _read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        try:
            content = path.read_bytes()
        except OSError:
            return None
        body, digest = content[:-32], content[-32:]
        if hashlib.sha256(body).digest() != digest:
            return None
        try:
            tensors, about = load(body), metadata_of(body)
        except (SafetensorError, KeyError):
            return None
        return (tensors, about) if about.get("identity") == self.identity else None

    def remove(self) -> None:
        """Deletes the files, when the training they belong to is finished and saved elsewhere."""
        self.path.unlink(missing_ok=True)
        self.before.unlink(missing_ok=True)


def _flat(state: dict[int, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """An optimiser's state as tensors by name, and what goes into JSON: numbers, and lengths of lists of tensors.

    A list with a gap is scratch memory of L-BFGS, which it makes anew.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for i, values in state.items():
        plain[str(i)] = {}
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{i}.{name}"] = value
            elif isinstance(value, int | float):
                plain[str(i)][name] = value
            elif isinstance(value, list) and all(isinstance(item, Tensor) for item in value):
                plain[str(i)][name] = {"n": len(value)}
                tensors |= {f"{i}.{name}.{k}": item for k, item in enumerate(value)}
    return tensors, plain


def _deep(
    tensors: dict[str, Tensor], plain: dict[str, dict[str, Any]], parameters: list[nn.Parameter]
) -> dict[int, dict[str, Any]]:
    """The state that `_flat` made flat."""
    state: dict[int, dict[str, Any]] = {int(i): {} for i in plain}
    for i, values in plain.items():
        for name, value in values.items():
            is_list = isinstance(value, dict)
            state[int(i)][name] = (
                [tensors.pop(f"{i}.{name}.{k}") for k in range(value["n"])] if is_list else value
            )
    for key, value in tensors.items():
        i, name = key.split(".", 1)
        state[int(i)][name] = _laid_out_like(parameters[int(i)], value)
    return state


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """The fused optimiser walks parameter and state in memory order, so both must be channels-last or neither."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
