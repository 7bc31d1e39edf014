"""`kedro run`, with errors that a user can mend told in one line."""

import functools
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.io import DatasetError
from kedro.validation.exceptions import DataValidationError

from debias_pipeline.errors import UserError
from debias_pipeline.parameters import unknown


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
    if isinstance(error, DataValidationError):
        return f"{_one_line(error)}: make the data again with kedro run --pipeline=ingestion"
    if isinstance(error, DatasetError):
        return _one_line(error)
    if isinstance(error, ValueError) and _is_about_the_choice_of_nodes(error):
        return _one_line(error)
    return None


def _is_about_the_choice_of_nodes(error: ValueError) -> bool:
    """Whether Kedro refuses what `--nodes`, `--tags` and the like say: a bare ValueError."""
    *_, (raised_in, _) = traceback.walk_tb(error.__traceback__)
    return raised_in.f_globals.get("__name__") == "kedro.pipeline.pipeline"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _check_pipelines(names: Iterable[str]) -> None:
    known = [name for name in pipelines if name != "__default__"]
    for name in names:
        if name not in pipelines:
            raise UserError(unknown("pipeline", name, known))


class _Unexplained(logging.Filter):
    """Drops what Kedro logs about a failed node where the error explains itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        kedro_warns = record.name.startswith("kedro") and record.levelno >= logging.WARNING
        return not kedro_warns or explanation(sys.exc_info()[1]) is None


@contextmanager
def _without_what_is_explained() -> Iterator[None]:
    unexplained, handlers = _Unexplained(), list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(unexplained)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(unexplained)


def _explaining(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            _check_pipelines(filter(None, [kwargs["pipeline"], *kwargs["pipelines"]]))
            with _without_what_is_explained():
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
