from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earshot.data import download
from earshot.data.download import Blob, check_source, fetch_blobs, git_sha1, read_url
from earshot.errors import ConfigError, EarshotError
from earshot.monitor import Silent

from .web import Web, serve


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(download, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve() as web:
        yield web


def blob(path: str, content: bytes) -> Blob:
    return Blob(path, len(content), git_sha1(content))


def refusal(url: str, **options: object) -> str:
    with pytest.raises(EarshotError) as caught:
        read_url(url, limit_bytes=100, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(st.binary(max_size=200))
def test_the_hash_is_that_of_git(content: bytes) -> None:
    assert git_sha1(content) == hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def test_a_server_that_fails_now_and_then_is_asked_again(web: Web) -> None:
    web.files["a"] = b"whole"
    web.faults["a"] = [503, "drop", 429]
    assert read_url(f"{web.url}/a", limit_bytes=100) == b"whole"
    assert len(web.asked) == 4


def test_a_server_that_keeps_dropping_is_given_up_in_one_line(web: Web) -> None:
    web.files["a"] = b"whole"
    web.faults["a"] = ["drop"] * 9
    message = refusal(f"{web.url}/a")
    assert "broke off after 2 bytes" in message
    assert "Tried 4 times" in message


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_clear_no_is_taken_at_once_and_names_the_file(web: Web, status: int) -> None:
    web.faults["a/b c"] = [status] * 9
    message = refusal(f"{web.url}/a/b%20c")
    assert f"HTTP {status}" in message
    assert "/a/b%20c" in message
    assert web.asked == ["a/b c"]
    assert "GitHub" not in message  # this is another server


def test_a_server_that_is_not_there_is_told_from_a_missing_file(web: Web) -> None:
    assert "Check the network" in refusal("http://127.0.0.1:1/a")


def test_more_than_was_announced_is_refused(web: Web) -> None:
    web.files["a"] = b"x" * 101
    assert "more than 100 bytes" in refusal(f"{web.url}/a")


def test_a_wrong_content_is_asked_for_again_and_then_refused(web: Web) -> None:
    right = blob("a", b"right")
    web.files["a"] = b"right"
    web.faults["a"] = [b"wrong"]
    assert read_url(f"{web.url}/a", limit_bytes=5, check=right.fault) == b"right"
    web.faults["a"] = [b"wrong"] * 9
    assert "wrong checksum" in refusal(f"{web.url}/a", check=right.fault)


def test_waiting_ends_when_another_thread_says_so(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSES_S", (60.0,))
    web.faults["a"] = [503] * 9
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(download.Stopped):
        read_url(f"{web.url}/a", limit_bytes=100, stop=stop)
    assert web.asked == ["a"]


def test_a_folder_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"here")
    assert read_url(check_source(tmp_path.as_uri()) + "a", limit_bytes=100) == b"here"
    assert "404" in refusal(f"{tmp_path.as_uri()}/b")


@pytest.mark.parametrize("source", ["ftp://example.org/x", "/data/ESC-50", "https://", "", "javascript:x"])
def test_other_addresses_are_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="http, https or file"):
        check_source(source)


def test_one_missing_file_stops_the_others_and_leaves_no_part(web: Web, tmp_path: Path) -> None:
    contents = {f"d/{i}": b"%d" % i for i in range(40)}
    web.files = {path: content for path, content in contents.items() if path != "d/7"}
    blobs = [blob(path, content) for path, content in contents.items()]
    with pytest.raises(EarshotError, match="d/7"):
        fetch_blobs(blobs, base=f"{web.url}/", folder=tmp_path, monitor=Silent())
    there = list(tmp_path.rglob("*"))
    assert all(path.read_bytes() == contents[f"d/{path.name}"] for path in there if path.is_file())


def test_a_full_disk_is_said_before_and_while_writing(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["a"] = b"x" * 50
    wanted = [blob("a", web.files["a"])]
    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 49}))
        with pytest.raises(EarshotError, match="free space is 49; expected 50 bytes"):
            fetch_blobs(wanted, base=f"{web.url}/", folder=tmp_path, monitor=Silent())
    assert web.asked == []

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "write_whole", full)
    with pytest.raises(EarshotError, match="free space"):
        fetch_blobs(wanted, base=f"{web.url}/", folder=tmp_path, monitor=Silent())


def test_a_folder_that_cannot_be_written_is_named(web: Web, tmp_path: Path) -> None:
    web.files["d/a"] = b"x"
    (tmp_path / "d").write_text("a file where a folder must be")
    with pytest.raises(EarshotError, match=r"d/a: file is .*--dir"):
        fetch_blobs([blob("d/a", b"x")], base=f"{web.url}/", folder=tmp_path, monitor=Silent())
