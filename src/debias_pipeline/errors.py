"""Errors whose messages tell users what to do."""

import unicodedata
from dataclasses import dataclass
from typing import Final

# Control characters, lone surrogates (bytes of a file name that are not UTF-8), line separators.
_NOT_SHOWN: Final = ("Cc", "Cs", "Zl", "Zp")


class UserError(Exception):
    """Invalid input or a missing earlier step; the message is one line and says what to do.

    The command line prints only the message, without a traceback, and exits with 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_joined(message))


class RecipeError(UserError):
    """A recipe field is invalid.

    `{recipe}` in the message is replaced by the key of recipe fields in `--params`, which is
    `recipe` in ordinary runs.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("{recipe}", "recipe"))
        self._message = message

    def with_key(self, key: str) -> UserError:
        """Return the error for another key of recipe fields, such as benchmark.overrides."""
        return UserError(self._message.replace("{recipe}", key))


class AlreadyRunningError(UserError):
    """Another process is training with the same settings."""


def one_line(error: BaseException) -> str:
    """Return the message of an error as one line."""
    return _joined(str(error))


def user_error_behind(error: BaseException | None) -> UserError | None:
    """Return the first UserError among an error and its causes, or None."""
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__
    return None


def printable(text: str) -> str:
    r"""Escape line breaks, control characters and bytes that are not UTF-8, as in \n or \xe9."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in _NOT_SHOWN else character
        for character in text
    )


def _escaped(character: str) -> str:
    # Python decodes a byte of a file name that is not UTF-8 to U+DC80 … U+DCFF.
    is_byte = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else ascii(character)[1:-1]


def _joined(text: str) -> str:
    return printable(" ".join(text.split()))


@dataclass(frozen=True)
class Unreadable:
    """The input of a node whose file cannot be read.

    Attributes:
        reason: error message, one line.
    """

    reason: str
