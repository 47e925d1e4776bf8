"""The few errors a user can meet. Each message is one line: where, field, value, rule, fix."""

from __future__ import annotations

from collections.abc import Mapping
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


def rule_of(fault: Mapping[str, Any]) -> str:
    """What pydantic expected, in the words of a message: one of `ValidationError.errors()`.

    >>> rule_of({"type": "greater_than_equal", "msg": "Input should be greater than or equal to 0"})
    'greater than or equal to 0'
    """
    if fault["type"] == "extra_forbidden":
        return "a known key"
    if fault["type"] == "union_tag_invalid":
        return f"one of {fault['ctx']['expected_tags']}"
    return str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
