"""Ten small sounds and an empty cache, for the tests of the store."""

from __future__ import annotations

import pytest

from .sounds import good_bytes


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "sounds"
    path.mkdir()
    for i in range(10):
        (path / f"{i}.wav").write_bytes(good_bytes(i))
    return path


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"
