"""How long a user waits before anything happens: `import earshot` and `earshot --help`, beside a bare Python."""

from __future__ import annotations

import re
import subprocess
import sys

from bench import alternating, earshot, seconds, table

N_ROUNDS = 10
_TOTAL = re.compile(r"^import time:\s*\d+ \|\s*(\d+) \| earshot$", re.MULTILINE)


def import_seconds() -> float:
    """What `python -X importtime` counts for `import earshot` and all that it imports."""
    command = [sys.executable, "-X", "importtime", "-c", "import earshot"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    match = _TOTAL.search(listing)
    if match is None:
        raise RuntimeError("python -X importtime did not list earshot")
    return int(match[1]) / 1e6


def wall_seconds(command: list[str]) -> float:
    """From start to end of a process."""
    return seconds(lambda: subprocess.run(command, check=True, capture_output=True))


def main(*, n_rounds: int = N_ROUNDS) -> str:
    """The table of medians."""
    imported, helped, bare = alternating(
        n_rounds,
        import_seconds,
        lambda: wall_seconds(earshot("--help")),
        lambda: wall_seconds([sys.executable, "-c", "pass"]),
    )
    rows = [
        ("`import earshot`, by `-X importtime`", f"{imported:.3f} s", "<= 0.15 s"),
        ("`earshot --help`, whole process", f"{helped:.3f} s", "<= 0.5 s"),
        ("`python -c pass`, whole process", f"{bare:.3f} s", ""),
    ]
    return table(("what", "time", "target"), rows, note=f"Medians of {n_rounds} rounds.")


if __name__ == "__main__":
    print(main())
