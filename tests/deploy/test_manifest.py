import json
import os
import pickle
import shutil

import numpy as np
import pytest

from earshot.deploy import manifest
from earshot.deploy.manifest import check_manifest, write_manifest
from earshot.errors import BundleError


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of a bundle and their manifest."""
    root = tmp_path / "model"
    (root / "golden").mkdir(parents=True)
    for name in (
        "config.json",
        "README.md",
        "trained_on.safetensors",
        "golden/golden.safetensors",
        "a.skops",
    ):
        (root / name).write_bytes(name.encode() * 9)
    write_manifest(root)
    return root


def refusal(folder):
    with pytest.raises(BundleError) as caught:
        check_manifest(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder, change):
    path = folder / "manifest.json"
    listed = json.loads(path.read_text())
    change(listed)
    path.write_text(json.dumps(listed))


class Trap:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def test_a_folder_as_written_passes_and_names_its_files(folder):
    assert check_manifest(folder) == {
        "config.json",
        "README.md",
        "trained_on.safetensors",
        "golden/golden.safetensors",
        "a.skops",
    }


def test_a_hundred_byte_flips_are_a_hundred_refusals(folder):
    rng = np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for _ in range(100):
        path = files[rng.integers(len(files))]
        content = path.read_bytes()
        at = rng.integers(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.integers(8))]) + content[at + 1 :])
        refusal(folder)
        path.write_bytes(content)
    check_manifest(folder)


def test_an_added_file_is_refused_wherever_it_is(folder):
    for name in ("extra.json", "golden/extra.md", "deep/er/.hidden"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        assert f"file is '{name}'" in refusal(folder)
        path.unlink()


@pytest.mark.parametrize("name", ["a.skops", "golden/golden.safetensors", "config.json"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    assert f"file is '{name}'" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "README.md", "trained_on.safetensors"])
def test_a_manifest_without_a_needed_file_is_refused(folder, name):
    (folder / name).unlink()
    edit(folder, lambda listed: listed.pop(name))
    assert f"{name} among them" in refusal(folder)


@pytest.mark.parametrize("name", ["model.pkl", "model.pt", "model.joblib", "model.npy", "run.py", "none"])
def test_formats_that_can_run_code_are_refused_even_when_listed(folder, tmp_path, name):
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "canary")))
    write_manifest(folder)
    assert "can run code" in refusal(folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "name", ["../canary.json", "/etc/canary.json", "golden/../../canary.md", "a\\b.json"]
)
def test_a_manifest_cannot_point_out_of_its_folder(folder, tmp_path, name):
    (tmp_path / "canary.json").write_text("{}")
    edit(folder, lambda listed: listed.update({name: {"bytes": 2, "sha256": "0" * 64}}))
    assert "expected a path inside the model folder" in refusal(folder)


def test_links_are_refused_whatever_they_point_to(folder, tmp_path):
    shutil.copy(folder / "a.skops", tmp_path / "outside")
    (folder / "a.skops").unlink()
    (folder / "a.skops").symlink_to(tmp_path / "outside")
    assert "expected a plain file" in refusal(folder)


def test_a_linked_folder_is_refused(folder, tmp_path):
    shutil.move(folder / "golden", tmp_path / "golden")
    (folder / "golden").symlink_to(tmp_path / "golden")
    assert "golden" in refusal(folder)


def test_a_pipe_is_refused_and_never_read(folder):
    (folder / "a.skops").unlink()
    os.mkfifo(folder / "a.skops")
    edit(folder, lambda listed: listed["a.skops"].update(bytes=0))
    assert "expected a plain file" in refusal(folder)


def test_a_wrong_size_is_told_before_the_file_is_read(folder, monkeypatch):
    first = next(iter(json.loads((folder / "manifest.json").read_text())))
    (folder / first).write_bytes(b"longer than before" * 99)
    monkeypatch.setattr(manifest, "sha256_of", None)
    assert "size is 1782" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b'{"a.json": 3}',
        b'{"a.json": {"bytes": "x", "sha256": ""}}',
        b'{"a.json": {"bytes": 1e999, "sha256": ""}}',
        b'{"a.json": {"bytes": NaN, "sha256": ""}}',
        b'{"a.json": {"sha256": ""}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"{" + b" " * (2**20 + 1) + b"}",
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content)
    refusal(folder)


def test_what_is_no_bundle_is_called_so(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "this is a file" in refusal(tmp_path / "file")
    assert "no model folder" in refusal(tmp_path / "nowhere")
    assert "no model folder" in refusal(tmp_path)
