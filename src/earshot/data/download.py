"""Files from a web server, a mirror or a folder: each checked, whole or absent, several at once.

Conventions: contents are known by git's hash, SHA-1 of `blob SIZE`, a zero byte and the content.
Source: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from earshot.errors import ConfigError, EarshotError, complaint
from earshot.files import write_whole
from earshot.monitor import Monitor

# Waits before the second, third and fourth attempt.
PAUSES_S = (0.5, 2.0, 6.0)
TIMEOUT_S = 30.0
# A server that is busy or restarting; all other codes mean no, however often one asks.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_BLOCK_BYTES = 1 << 18
_N_THREADS = 8
_AGAIN = "What has been fetched stays; run the same command again to go on."
_NETWORK = "Check the network and its proxy (HTTPS_PROXY), or name a mirror with --source."


@dataclass(frozen=True)
class Blob:
    """A file that is wanted: its path below the source and the folder, and what it must hold."""

    path: str
    n_bytes: int
    sha1: str

    def fault(self, content: bytes) -> str:
        """What is wrong with a content; empty when it is this file's."""
        if len(content) != self.n_bytes:
            return f"{len(content)} bytes instead of {self.n_bytes}"
        return "" if git_sha1(content) == self.sha1 else "wrong checksum"

    def is_in(self, folder: Path) -> bool:
        """Whether the file is there, whole and unchanged."""
        path = folder / self.path
        try:
            return path.stat().st_size == self.n_bytes and not self.fault(path.read_bytes())
        except OSError:
            return False


class Stopped(Exception):
    """Another file failed, or the user pressed Ctrl-C."""


def git_sha1(content: bytes) -> str:
    """The name that git gives to a content.

    >>> git_sha1(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def check_source(url: str) -> str:
    """A base address that ends in one slash.

    Raises:
        ConfigError: it is no http, https or file address.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https", "file") or not (parts.netloc or parts.scheme == "file"):
        fix = "Write it out, such as https://example.org/ESC-50 or file:///data/ESC-50."
        raise ConfigError(complaint("source", "address", url, "an http, https or file address", fix))
    return url.rstrip("/") + "/"


def read_url(
    url: str,
    *,
    limit_bytes: int,
    check: Callable[[bytes], str] = lambda content: "",
    stop: threading.Event | None = None,
) -> bytes:
    """The content of an address; tried again after a pause where that may help.

    Args:
        limit_bytes: more than that is refused.
        check: says what is wrong with a content; empty when nothing is.
        stop: ends waiting and reading from another thread.

    Raises:
        EarshotError: there is no such file, or the attempts are used up.
    """
    stop = stop or threading.Event()
    for pause_s in (*PAUSES_S, None):
        try:
            content = _read_once(url, limit_bytes, stop)
            fault = check(content)
            if not fault:
                return content
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _PASSING:
                raise _refused(url, error.code, error.reason) from error
            fault = f"HTTP {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, FileNotFoundError):
                raise _refused(url, 404, "no such file") from error
            fault = str(reason) or type(reason).__name__
        if pause_s is not None and stop.wait(pause_s):
            raise Stopped
    fix = f"Tried {len(PAUSES_S) + 1} times. {_NETWORK} {_AGAIN}"
    raise EarshotError(complaint(url, "answer", fault, "the whole file", fix))


def fetch_blobs(blobs: Sequence[Blob], *, base: str, folder: Path, monitor: Monitor) -> None:
    """Fetches the files that are not in the folder yet, or are damaged there.

    Raises:
        EarshotError: a file could not be fetched or written; files that were finished stay.
    """
    missing = _missing(blobs, folder, monitor)
    n_bytes = sum(blob.n_bytes for blob in missing)
    there = f"{len(blobs) - len(missing)} of {len(blobs)} files are there"
    monitor.say(f"{there}, {len(missing)} to fetch ({n_bytes / 1e6:.1f} MB)")
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    n_free = shutil.disk_usage(folder).free
    if n_free < n_bytes:
        raise _no_space(folder, n_free, n_bytes)
    stop = threading.Event()
    with ThreadPoolExecutor(_N_THREADS) as pool:
        futures = [pool.submit(_fetch_one, blob, base, folder, stop) for blob in missing]
        try:
            _follow(futures, "fetching", monitor)
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def store(path: Path, content: bytes) -> None:
    """Writes a file whole.

    Raises:
        EarshotError: the disk is full, or the folder cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(path.parent, 0, len(content)) from error
        fix = "Choose another folder with --dir, or mend its permissions."
        raise EarshotError(
            complaint(path, "file", error.strerror, "a file that can be written", fix)
        ) from error


def _fetch_one(blob: Blob, base: str, folder: Path, stop: threading.Event) -> None:
    url = base + urllib.parse.quote(blob.path)
    store(folder / blob.path, read_url(url, limit_bytes=blob.n_bytes, check=blob.fault, stop=stop))


def _missing(blobs: Sequence[Blob], folder: Path, monitor: Monitor) -> list[Blob]:
    with ThreadPoolExecutor(_N_THREADS) as pool:
        there = []
        for n_done, is_there in enumerate(pool.map(lambda blob: blob.is_in(folder), blobs), 1):
            there.append(is_there)
            monitor.progress("checking files", n_done, len(blobs))
    return [blob for blob, is_there in zip(blobs, there, strict=True) if not is_there]


def _follow(futures: Iterable[Future[None]], task: str, monitor: Monitor) -> None:
    """Waits for all; the first that failed for a reason of its own raises."""
    futures = list(futures)
    for n_done, future in enumerate(as_completed(futures), 1):
        future.result()
        monitor.progress(task, n_done, len(futures))


def _read_once(url: str, limit_bytes: int, stop: threading.Event) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "earshot"})
    blocks, n_bytes = [], 0
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        while block := answer.read1(_BLOCK_BYTES):
            n_bytes += len(block)
            if stop.is_set():
                raise Stopped
            if n_bytes > limit_bytes:
                raise OSError(f"more than {limit_bytes} bytes")
            blocks.append(block)
        if getattr(answer, "length", None):  # bytes that were announced and never came
            raise ConnectionError(f"broke off after {n_bytes} bytes")
    return b"".join(blocks)


def _refused(url: str, code: int, reason: str) -> EarshotError:
    fix = "Is the source a mirror of this corpus?"
    if code in (401, 403) and urllib.parse.urlsplit(url).hostname == "api.github.com":
        fix = "GitHub allows 60 lists an hour; wait, or name a mirror with --source."
    return EarshotError(complaint(url, "answer", f"HTTP {code} {reason}", "the file", f"{fix} {_AGAIN}"))


def _no_space(folder: Path, n_free: int, n_needed: int) -> EarshotError:
    rule = f"{n_needed} bytes for what is still to fetch"
    return EarshotError(
        complaint(
            folder, "free space", n_free, rule, f"Free some, or choose another disk with --dir. {_AGAIN}"
        )
    )
