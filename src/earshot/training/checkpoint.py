"""The state of an unfinished training, on disk after an epoch: enough to go on as if nothing had happened.

Randomness needs no saving: every epoch draws from seeds made of (seed, epoch) alone.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from earshot.files import write_whole


class Checkpoint:
    """One file, `path`, that holds network, averaged network, optimiser and history after the last saved epoch.

    Args:
        identity: what the training depends on (configuration, data, fold); a file of another identity is not used.
    """

    def __init__(self, path: Path, *, identity: str) -> None:
        self.path = path
        self.identity = hashlib.sha256(identity.encode()).hexdigest()

    def save(
        self,
        *,
        epoch: int,
        network: nn.Module,
        average: nn.Module,
        optimizer: Optimizer,
        history: list[dict[str, Any]],
    ) -> None:
        """Writes the state after `epoch` (the number of finished epochs)."""
        tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
        contiguous = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        about = {"epoch": str(epoch), "history": json.dumps(history), "identity": self.identity}
        body = save(contiguous, metadata=about)
        write_whole(self.path, body + hashlib.sha256(body).digest())

    def load(
        self, *, network: nn.Module, average: nn.Module, optimizer: Optimizer
    ) -> tuple[int, list[dict[str, Any]]]:
        """Restores the saved state in place.

        Returns:
            Finished epochs and their history; (0, []) where there is no usable file, so that training starts anew.
        """
        read = self._read()
        if read is None:
            return 0, []
        tensors, about = read
        network.load_state_dict(_below("network.", tensors))
        average.load_state_dict(_below("average.", tensors))
        plain = optimizer.state_dict()
        plain["state"] = {}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for key, value in _below("optimizer.", tensors).items():
            i, name = key.split(".", 1)
            plain["state"].setdefault(int(i), {})[name] = _laid_out_like(parameters[int(i)], value)
        optimizer.load_state_dict(plain)
        return int(about["epoch"]), json.loads(about["history"])

    def _read(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        body, digest = content[:-32], content[-32:]
        if hashlib.sha256(body).digest() != digest:
            return None
        try:
            tensors = load(body)
        except SafetensorError:
            return None
        header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
        about: dict[str, str] = header.get("__metadata__", {})
        return (tensors, about) if about.get("identity") == self.identity else None

    def remove(self) -> None:
        """Deletes the file, when the training it belongs to is finished and saved elsewhere."""
        self.path.unlink(missing_ok=True)


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """The fused optimiser walks parameter and state in memory order, so both must be channels-last or neither."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
