"""The few errors a user can meet. Each message is one line: where, field, value, rule, fix."""

from __future__ import annotations


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


def complaint(where: object, field: str, value: object, rule: str, fix: str = "") -> str:
    """Builds the house form of an error message.

    >>> complaint("recipe.toml", "epochs", -3, "a whole number >= 1", "Drop the minus sign.")
    'recipe.toml: epochs is -3; expected a whole number >= 1. Drop the minus sign.'
    """
    shown = repr(value)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return f"{where}: {field} is {shown}; expected {rule}. {fix}".strip()
