"""The few errors a user can meet. Each message is one line: where, field, value, rule, fix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class EarshotError(Exception):
    """The user's data, arguments or files are at fault; the message says where and how to mend it."""


class DataError(EarshotError):
    """The labelled data cannot be used as it is."""


class ConfigError(EarshotError):
    """A recipe, option or setting has a value that breaks its rule."""


class BundleError(EarshotError):
    """A model folder is damaged, incomplete, unsafe or from another version."""


class DecodeError(EarshotError):
    """One sound file could not be read.

    Attributes:
        reason: short stable code (a key of `earshot.audio.decode.REASONS`), for tables and tests.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class Words(str):
    """A value described in words: a message shows it without quotes."""

    __slots__ = ()


def complaint(where: object, field: str, value: object, rule: str, fix: str = "") -> str:
    """Builds the house form of an error message.

    >>> complaint("recipe.toml", "epochs", -3, "a whole number >= 1", "Drop the minus sign.")
    'recipe.toml: epochs is -3; expected a whole number >= 1. Drop the minus sign.'
    >>> complaint("runs", "folder", Words("one that holds cat"), "a new folder")
    'runs: folder is one that holds cat; expected a new folder.'
    """
    shown = str(value) if isinstance(value, Words) else repr(value)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return f"{where}: {field} is {shown}; expected {rule}. {fix}".strip()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so in a RuntimeError, on a CPU by its words only."""
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_torchs)


def value_of(fault: Mapping[str, Any]) -> object:
    """What pydantic was given, for a message: one of `ValidationError.errors()`. A whole table is put in words."""
    if fault["type"] == "missing":
        return Words("missing")
    if fault["type"] == "union_tag_invalid":
        return fault["ctx"]["tag"]
    if isinstance(fault["input"], Mapping):
        return Words("a combination that does not work" if fault["type"] == "value_error" else "a table")
    return fault["input"]


def rule_of(fault: Mapping[str, Any], known: Iterable[str] = ()) -> str:
    """What pydantic expected, in the words of a message: one of `ValidationError.errors()`.

    Args:
        known: keys that there are, of which those like an unknown one are named.

    >>> rule_of({"type": "greater_than_equal", "msg": "Input should be greater than or equal to 0"})
    'greater than or equal to 0'
    """
    if fault["type"] == "missing":
        return "a value for it"
    if fault["type"] == "string_pattern_mismatch":
        return "letters, digits, blanks, dots, _ and -, of which a letter, digit or _ comes first"
    if fault["type"] == "union_tag_not_found":
        return "a table with a kind"
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(str(fault["loc"][-1]), known, n=3)
        return f"a known key, such as {', '.join(near)}" if near else "a known key"
    if fault["type"] == "union_tag_invalid":
        return f"one of {fault['ctx']['expected_tags']}"
    return str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
