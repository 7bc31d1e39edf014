"""Errors that a user can mend."""


class UserError(Exception):
    """Bad input or a missing earlier step, told in one line that names the fix.

    The command line prints the message alone, without a traceback, and exits with 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
