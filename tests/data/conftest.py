from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Touch = Callable[..., Path]


@pytest.fixture
def touch(tmp_path: Path) -> Touch:
    """Makes empty files below a new folder: a reader never opens a sound."""

    def make(*names: str | bytes) -> Path:
        for name in names:
            path = Path(tmp_path, "data", os.fsdecode(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "data"

    return make
