from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from earshot import files
from earshot.audio.windows import InMemory
from earshot.errors import EarshotError
from earshot.files import write_whole
from earshot.models.member import NetworkMember
from earshot.runfolder import FoldFile, RunFolder
from earshot.training.fold import FittedFold, build_front_end
from earshot.training.members import FoldData, MemberConfig
from earshot.training.networks import prepared_network


def test_a_second_holder_is_refused_at_once_and_named_the_way_out(tmp_path: Path) -> None:
    with RunFolder(tmp_path).locked():
        start_s = time.monotonic()
        with (
            pytest.raises(EarshotError, match=r"another earshot is working .*another -o") as refusal,
            RunFolder(tmp_path).locked(),
        ):
            pass
        assert time.monotonic() - start_s < 2
        assert "\n" not in str(refusal.value)
    with RunFolder(tmp_path).locked():
        pass


def test_the_lock_of_a_killed_run_is_gone(tmp_path: Path) -> None:
    script = (
        "import sys, fcntl, time\n"
        "file = open(sys.argv[1] + '/.lock', 'a'); fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(EarshotError), RunFolder(tmp_path).locked():
            pass
        holder.kill()
        holder.wait()
    with RunFolder(tmp_path).locked():
        pass


def test_a_folder_belongs_to_one_recipe(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "b")
    folder.claim("seed = 1\n")
    folder.claim("seed = 1\n")
    with pytest.raises(EarshotError, match="another recipe"):
        folder.claim("seed = 2\n")
    assert (tmp_path / "a" / "b" / "experiment.toml").read_text() == "seed = 1\n"


def test_other_words_about_the_same_recipe_are_no_other_recipe(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        folder.claim('description = "a first try"\nseed = 1\n')
        folder.claim('# noted\ndescription = "a second try"\nseed = 1\n')
        with pytest.raises(EarshotError, match="another recipe"):
            folder.claim("seed = 2\n")
        (tmp_path / "run" / "experiment.toml").write_text("seed = ")
        with pytest.raises(EarshotError, match="another recipe"):
            folder.claim("seed = 1\n")


def test_the_log_adds_lines(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log("one")
    folder.log("two · 2 µs")
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["one", "two · 2 µs"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write_whole(tmp_path / "a.json", "old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((files.os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_have_the_permissions_that_the_user_wants(umask: int, tmp_path: Path) -> None:
    script = (
        f"import os; os.umask({umask}); from earshot.files import write_whole; from pathlib import Path; "
    )
    script += "write_whole(Path('a.json'), 'x'); Path('b').write_text('x')"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("a.json", "b"), 0o666 & ~umask)


def test_a_folder_that_cannot_be_made_is_one_plain_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises((EarshotError, OSError)):
        RunFolder(tmp_path / "file" / "run")


def test_weights_of_other_data_are_not_taken_for_those_that_were_scored(tmp_path, monkeypatch):
    config = MemberConfig.model_validate(
        {"features": {"kind": "decimated", "seconds": 1.0}, "model": {"kind": "mlp", "hidden": [4]}}
    )
    data = FoldData(
        view=InMemory([np.zeros(8_000, np.int16)] * 2),
        targets=np.eye(2, dtype=np.float32),
        groups=np.array(["a", "b"], object),
        train=np.array([0]),
        test=np.array([1]),
        length=8_000,
        hop=8_000,
        rate_hz=8_000,
        multilabel=False,
    )
    shape = data.input_shape(config)
    network = prepared_network(config.model, input_shape=shape, n_classes=2, seed=0)
    fitted = FittedFold(
        NetworkMember(build_front_end(config, 8_000), network), np.array([[0.9, 0.1]], np.float32), []
    )
    first, other = (
        FoldFile(RunFolder(tmp_path), member="m", fold="1", config=config, identity=identity)
        for identity in ("first", "other")
    )
    first.save(fitted, seconds=1)
    assert first.load(data, device="cpu") is not None
    assert other.load(data, device="cpu") is None

    def full(path, body):
        raise OSError("no space left")

    monkeypatch.setattr("earshot.runfolder.write_whole", full)  # after the weights
    with pytest.raises(OSError, match="no space"):
        other.save(fitted, seconds=1)
    assert first.load(data, device="cpu") is None


def test_a_file_system_without_locks_is_named_as_such(tmp_path, monkeypatch):
    def no_locks(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    rule = "No locks available'; expected one that can lock"
    with pytest.raises(EarshotError, match=rule), RunFolder(tmp_path).locked():
        pass


def test_a_folder_of_other_things_is_no_run_folder(tmp_path):
    (tmp_path / "rain").mkdir()
    (tmp_path / ".DS_Store").touch()
    with pytest.raises(EarshotError, match="is one that holds rain; expected a new folder"):
        RunFolder(tmp_path).claim("seed = 0\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == [".DS_Store", "rain"]


def test_results_of_other_data_are_not_overwritten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write("clips.csv", "id,content\na,1\nb,2\nc,\n")
    folder.check_data(["7"], ["cat"])  # not finished: nothing is lost
    folder.write("metrics.json", '{"classes": ["cat", "dog"]}')
    folder.check_data(["2", "3"], ["cat", "rat"])  # it has grown
    for contents, classes in ((["7", ""], ["cat", "dog"]), (["1", "2"], ["female", "male"])):
        with pytest.raises(EarshotError, match=r"holds a run on other data .*another folder with -o"):
            folder.check_data(contents, classes)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    fold = tmp_path / "folds" / "cnn-1"
    fold.mkdir(parents=True)
    (tmp_path / "experiments").mkdir()
    left = [tmp_path / "experiments" / ".7.safetensors.ab_3.part", fold / ".checkpoint.x9.part"]
    kept = [tmp_path / ".rows.csv.c.part", fold / "checkpoint"]  # a prediction may be under way
    for part in (*left, *kept):
        part.write_bytes(b"half")
    folders = [tmp_path / ".model.part", fold / ".x.part"]
    for folder in folders:
        folder.mkdir()
    with RunFolder(tmp_path).locked():
        assert not any(part.exists() for part in left)
    assert all(part.exists() for part in (*kept, *folders))
