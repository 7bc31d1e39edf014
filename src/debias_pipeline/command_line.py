"""What the commands share: errors in one line, readable logs, and the option --params."""

import functools
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.utils import _split_params
from kedro.io import DatasetError
from kedro.validation.exceptions import DataValidationError
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.logging import RichHandler
from yaml import YAMLError

from debias_pipeline.errors import one_line, user_error_behind
from debias_pipeline.parameters import text_parameters
from debias_pipeline.stopping import Stopped, stopping_at_once


def explanation(error: BaseException | None) -> str | None:
    """Return one line about an error that users can fix, or None for other errors."""
    user_error = user_error_behind(error)
    if user_error is not None:
        return str(user_error)
    if isinstance(error, DataValidationError):
        return f"{one_line(error)}; make the data again with kedro run --pipeline=ingestion"
    if isinstance(
        error, DatasetError | MissingConfigException | YAMLError | OmegaConfBaseException
    ):
        return one_line(error)
    if isinstance(error, ValueError) and _is_raised_by_a_filter(error):
        return one_line(error)
    return None


def _is_raised_by_a_filter(error: ValueError) -> bool:
    """Return whether Kedro rejects `--nodes`, `--tags` or the like, which is a bare ValueError."""
    *_, (raised_in, _) = traceback.walk_tb(error.__traceback__)
    return raised_in.f_globals.get("__name__") == "kedro.pipeline.pipeline"


class _WithoutKedrosNoise(logging.Filter):
    """Drop Kedro's hint at --async, and its lines about a failed node before a one-line error."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("kedro"):
            return True
        if record.levelno >= logging.WARNING:
            return explanation(sys.exc_info()[1]) is None
        # The hint is all that this module logs; the lines about nodes are from runner.py.
        return record.module != "sequential_runner"


@contextmanager
def _readable_logs() -> Iterator[None]:
    """Drop Kedro's noise, and without a terminal log each message on one line, not wrapped."""
    root, quiet = logging.getLogger(), _WithoutKedrosNoise()
    before = list(root.handlers)
    root.handlers = [_unwrapped(handler) for handler in before]
    for handler in root.handlers:
        handler.addFilter(quiet)
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.removeFilter(quiet)
        root.handlers = before


def _unwrapped(handler: logging.Handler) -> logging.Handler:
    if not isinstance(handler, RichHandler) or handler.console.is_terminal:
        return handler
    plain = logging.StreamHandler(handler.console.file)
    plain.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)-8s %(message)s", "%X"))
    return plain


@contextmanager
def _killed_when_interrupted() -> Iterator[None]:
    """See `tracking.killed_when_interrupted`, whose package not every command imports."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        # Otherwise no run has begun.
        if "debias_pipeline.tracking" in sys.modules:
            from debias_pipeline.tracking import killed_when_interrupted

            with killed_when_interrupted():
                raise
        raise


def with_one_line_errors(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that prints expected errors in one line, and handles Ctrl-C."""

    @functools.wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            with stopping_at_once(), _killed_when_interrupted(), _readable_logs():
                return callback(*args, **kwargs)
        except Stopped as stopped:
            click.echo(stopped, err=True)
            raise SystemExit(stopped.exit_code) from stopped
        except Exception as error:
            message = explanation(error)
            if message is None:
                raise
            raise click.ClickException(message) from error

    return run


class ParamsOption(click.Option):
    """`--params`, which may be given several times: later values replace earlier ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args,
            **{**kwargs, "multiple": True, "type": click.UNPROCESSED, "callback": _merge_params},
        )

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Accept a single value as well, as a --config file contains no list of them."""
        single = isinstance(value, str | dict)
        return super().type_cast_value(ctx, (value,) if single else value)


def _merge_params(ctx: click.Context, option: click.Parameter, values: Any) -> dict[str, Any]:
    parts = [_typed_params(ctx, option, value) for value in values]
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(*parts)) if parts else {})


def _typed_params(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
    """Return the values of one --params. Text is taken as it is typed, also 0123 or yes."""
    if not isinstance(value, str):
        return value
    items = [item.partition("=") for item in value.split(",")]
    # Text in quotation marks is YAML.
    texts = {
        key.strip(): text.strip()
        for key, sign, text in items
        if sign and key.strip() in text_parameters() and not text.lstrip().startswith(("'", '"'))
    }
    others = ",".join("".join(item) for item in items if item[0].strip() not in texts)
    try:
        return {**_split_params(ctx, option, others), **texts}
    except YAMLError as error:
        raise click.ClickException(
            f"--params {others}: {one_line(error)}; put the value in quotation marks, as in "
            "--params 'key=\"value\"'"
        ) from error
