"""Show the progress of a training run."""

import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)

_name: ContextVar[str | None] = ContextVar("name of the training", default=None)


@contextmanager
def training_named(name: str) -> Iterator[None]:
    """Let messages of a training inside the block begin with a name."""
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)


def training_name(default: str) -> str:
    """Return the name that `training_named` gives the training, or the default."""
    return _name.get() or default


class Progress:
    """A progress bar on a terminal; log lines at evaluations otherwise."""

    def __init__(self, name: str, steps: int, seconds_between_lines: float = 10.0) -> None:
        """Set up.

        Args:
            name: shown in front.
            steps: number of steps of the run.
            seconds_between_lines: least time between two log lines, except the last one.
        """
        self._name, self._steps, self._resumed_at = name, steps, 0
        self._bar = tqdm(
            total=steps,
            desc=name,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            smoothing=0.05,
        )
        self._started = self._last_line = time.monotonic()
        self._seconds_between_lines = seconds_between_lines

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start at the step of the snapshot."""
        del rows
        self._resumed_at = step
        self._bar.update(step)
        self._bar.unpause()

    def on_step(self) -> None:
        """Move the bar by one step."""
        self._bar.update()

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the latest accuracies, averaged over seeds."""
        valid, test = (
            sum(row[f"{split}_accuracy"] for row in rows) / len(rows) for split in ("valid", "test")
        )
        accuracy = f"valid {valid:.1%}, test {test:.1%}"
        if not self._bar.disable:
            self._bar.set_postfix_str(accuracy)
            return
        now = time.monotonic()
        if step < self._steps and now - self._last_line < self._seconds_between_lines:
            return
        self._last_line = now
        rate = (step - self._resumed_at) / (now - self._started)
        left = tqdm.format_interval((self._steps - step) / rate)
        logger.info(
            "%s: step %d of %d, %.0f steps/s, %s left, %s",
            self._name, step, self._steps, rate, left, accuracy,
        )  # fmt: skip

    def close(self) -> None:
        """Stop updating the bar."""
        self._bar.close()
