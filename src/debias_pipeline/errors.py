"""Errors that a user can correct, and what is passed in place of a result that cannot be read."""

from dataclasses import dataclass


class UserError(Exception):
    """Bad input or a missing earlier step, told in one line that names the fix.

    The command line prints the message alone, without a traceback, and exits with 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_joined(message))


class RecipeError(UserError):
    """A field of the recipe that training cannot go on with.

    `{recipe}` in the message stands for the key under which people set such fields, which is
    `recipe` in ordinary runs.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("{recipe}", "recipe"))
        self._message = message

    def with_key(self, key: str) -> UserError:
        """The same, told to those who set recipe fields under another key."""
        return UserError(self._message.replace("{recipe}", key))


class AlreadyRunningError(UserError):
    """Another process trains with the same settings."""


def one_line(error: BaseException) -> str:
    """What an error says, as one line."""
    return _joined(str(error))


def user_error_behind(error: BaseException | None) -> UserError | None:
    """The error itself or the nearest of its causes that a user can mend, or None."""
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__
    return None


def _joined(text: str) -> str:
    return " ".join(text.split())


@dataclass(frozen=True)
class Unreadable:
    """What a node gets in place of a file that cannot be read.

    Attributes:
        reason: one line.
    """

    reason: str
