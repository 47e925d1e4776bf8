"""Names and files that a folder may hold: rows 44 to 56 of the fault list, as far as a scan meets them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from earshot import read_clips
from earshot.data import scan

Touch = Callable[..., Path]


def names(root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in scan.walk(str(root)).paths]


def skipped(root: Path) -> dict[str, str]:
    return {os.path.relpath(path, root): reason for path, reason in scan.walk(str(root)).skipped}


def test_extensions_count_in_any_case_and_other_files_do_not(touch: Touch) -> None:
    root = touch("a.wav", "b.FLAC", "sub/c.Mp3", "readme.txt", "wav", "d.wav.bak")
    assert names(root) == ["a.wav", "b.FLAC", "sub/c.Mp3"]
    assert scan.walk(str(root)).others == {".txt": 1, "": 1, ".bak": 1}


def test_the_order_is_that_of_the_bytes_of_the_names(touch: Touch) -> None:
    root = touch("b.wav", "B.wav", "é.wav", "a/z.wav", "a.wav", b"\xff.wav")
    assert [os.fsencode(name) for name in names(root)] == sorted(os.fsencode(name) for name in names(root))


def test_hidden_files_and_macos_leftovers_are_skipped(touch: Touch) -> None:
    root = touch("a.wav", "._a.wav", ".b.wav", ".git/c.wav", ".DS_Store")
    assert names(root) == ["a.wav"]
    assert skipped(root) == {"._a.wav": "hidden", ".b.wav": "hidden"}


def test_a_folder_named_like_a_sound_is_skipped(touch: Touch) -> None:
    root = touch("a.wav", "x.wav/inner.wav")
    assert (names(root), skipped(root)) == (["a.wav"], {"x.wav": "not_a_file"})


def test_pipes_and_sockets_are_skipped_without_being_opened(
    touch: Touch, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = touch("a.wav")
    os.mkfifo(root / "pipe.wav")
    monkeypatch.chdir(root)  # the path of a socket has few bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
        assert skipped(root) == {"pipe.wav": "not_a_file", "socket.wav": "not_a_file"}
    assert names(root) == ["a.wav"]


def test_links_that_leave_the_folder_are_skipped(touch: Touch, tmp_path: Path) -> None:
    root = touch("a.wav")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.wav").touch()
    (root / "file.wav").symlink_to(outside / "secret.wav")
    (root / "folder").symlink_to(outside)
    (root / "up").symlink_to(tmp_path / "data-twin", target_is_directory=True)
    (tmp_path / "data-twin").mkdir()  # its name begins with that of the root
    assert names(root) == ["a.wav"]
    assert skipped(root) == {"file.wav": "outside_root", "folder": "outside_root", "up": "outside_root"}


def test_loops_of_links_end(touch: Touch) -> None:
    root = touch("a/x.wav", "b/y.wav")
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "root").symlink_to(root)
    (root / "a" / "to_b").symlink_to(root / "b")
    (root / "b" / "to_a").symlink_to(root / "a")
    (root / "c.wav").symlink_to(root / "c.wav")
    (root / "gone.wav").symlink_to(root / "nothing.wav")
    assert names(root) == ["a/x.wav", "b/y.wav"]
    assert skipped(root) == {
        "a/self": "loop",
        "a/root": "loop",
        "a/to_b": "repeated",
        "b/to_a": "repeated",
        "c.wav": "loop",
        "gone.wav": "vanished",
    }


def test_a_link_inside_the_folder_shares_the_group_of_its_sound(touch: Touch) -> None:
    root = touch("cat/x.wav", "cat/y.wav", "dog/z.wav")
    (root / "dog" / "link.wav").symlink_to(root / "cat" / "x.wav")
    clips = read_clips(root)
    groups = dict(zip(clips.ids, clips.groups, strict=True))
    assert groups["dog/link.wav"] == groups["cat/x.wav"]
    assert len(set(clips.groups)) == 3


def test_a_root_that_is_itself_a_link_is_walked(touch: Touch, tmp_path: Path) -> None:
    root = touch("a.wav")
    (tmp_path / "link").symlink_to(root)
    assert names(tmp_path / "link") == ["a.wav"]


def test_a_file_that_vanishes_during_the_scan_is_listed_with_its_reason(
    touch: Touch, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = touch("a.wav", "sub/b.wav")

    def scandir(path: str) -> object:
        if path.endswith("sub"):
            raise FileNotFoundError(2, "gone", path)
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert (names(root), skipped(root)) == (["a.wav"], {"sub": "vanished"})


def test_a_folder_without_permission_is_listed(touch: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch("sub/b.wav")

    def scandir(path: str) -> object:
        raise PermissionError(13, "no", path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(skipped(root).values()) == ["unreadable"]


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        (" two  words .wav", " two  words .wav"),
        ("line\nend.wav", "line%0Aend.wav"),
        ("-rf.wav", "-rf.wav"),
        ("x" * 251 + ".wav", "x" * 251 + ".wav"),
        (b"caf\xe9.wav", "caf%E9.wav"),
        ("tab\tbell\a.wav", "tab%09bell%07.wav"),
        ("<script>'\".wav", "<script>'\".wav"),
    ],
)
def test_any_file_name_is_kept_with_a_printable_id(touch: Touch, name: str | bytes, spelled: str) -> None:
    root = touch(b"dog/" + os.fsencode(name))
    clips = read_clips(root)
    assert clips.ids == (f"dog/{spelled}",)
    assert Path(clips.table["path"].iloc[0]).exists()


def test_names_composed_differently_are_different_files(touch: Touch) -> None:
    clips = read_clips(touch("dog/caf\u00e9.wav", "dog/cafe\u0301.wav"))
    assert len(set(clips.ids)) == len(set(clips.groups)) == 2


def test_every_skip_reason_is_explained() -> None:
    assert all(text for text in scan.SKIPS.values())
