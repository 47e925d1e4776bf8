"""Freed memory stays within a training and goes back after it: measured in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from earshot.training.pages import kept_pages

SCRIPT = """
import resource
from pathlib import Path

import numpy as np

from earshot.training.pages import kept_pages

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(256 * 2**20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 2**20

faults()
usual = faults()
empty = resident_mb()
try:
    with kept_pages():
        faults()
        inside, full = faults(), resident_mb()
        raise ValueError
except ValueError:
    print(usual, inside, faults() and faults(), empty, full, resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc hands pages back")
def test_a_block_keeps_its_pages_inside_and_gives_them_back_even_after_an_error():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    usual, inside, later, empty_mb, full_mb, left_mb = map(int, done.stdout.split())
    assert usual >= 100  # pages of 2 MiB at the most
    assert inside < 20
    assert later >= 100
    assert full_mb > empty_mb + 250
    assert left_mb < empty_mb + 20


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)  # whoever loads it all the same gets an error
    ran = []
    with kept_pages():
        ran.append(True)
    assert ran
