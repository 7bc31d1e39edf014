"""`kedro run`, with errors that a user can mend told in one line."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any, cast

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.io import DatasetError
from kedro.validation.exceptions import DataValidationError

from debias_pipeline.errors import UserError


@click.group(name="debias-pipeline")
def cli() -> None:
    """Commands of this project."""


def explanation(error: BaseException | None) -> str | None:
    """The one line that tells a user what to mend, or None where there is none."""
    cause = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__
    if isinstance(error, DatasetError | DataValidationError):
        return " ".join(str(error).split())
    return None


class _Unexplained(logging.Filter):
    """Drops what Kedro logs about a failed node where the error explains itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        kedro_warns = record.name.startswith("kedro") and record.levelno >= logging.WARNING
        return not kedro_warns or explanation(sys.exc_info()[1]) is None


def _explaining(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_Unexplained())
        try:
            return callback(*args, **kwargs)
        except Exception as error:
            message = explanation(error)
            if message is None:
                raise
            raise click.ClickException(message) from error

    return run


cli.add_command(
    click.Command(
        name="run",
        callback=_explaining(cast(Callable[..., Any], kedro_run.callback)),
        params=kedro_run.params,
        help=kedro_run.help,
    )
)
