"""Errors that a user can mend, and what stands where one has left nothing."""

from dataclasses import dataclass


class UserError(Exception):
    """Bad input or a missing earlier step, told in one line that names the fix.

    The command line prints the message alone, without a traceback, and exits with 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@dataclass(frozen=True)
class Hole:
    """What a failed cell of the grid hands on in place of a result: the catalog saves nothing.

    Attributes:
        reason: one line.
    """

    reason: str
