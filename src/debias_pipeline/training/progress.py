"""Show the progress of a training run."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from tqdm import tqdm

logger = logging.getLogger(__name__)

# Longest time to the first log line, least time between two lines at evaluations, and longest time
# without a line.
SECONDS_TO_FIRST_LINE: Final = 5.0
SECONDS_BETWEEN_LINES: Final = 10.0
SECONDS_WITHOUT_LINE: Final = 30.0

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
    """Show progress: a bar on a terminal, otherwise log lines.

    Lines are logged at evaluations, and at steps if the last line is too old. The rate does not
    count the first step, which compiles functions and can take as long as hundreds of others.
    """

    def __init__(self, name: str, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Set up.

        Args:
            name: shown in front.
            steps: number of steps of the run.
            clock: returns seconds.
        """
        self._name, self._steps, self._step = name, steps, 0
        self._bar = tqdm(
            total=steps,
            desc=name,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            smoothing=0.05,
        )
        self._clock = clock
        self._first_step: int | None = None
        self._started = self._last_line = clock()

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start at the step of the snapshot."""
        del rows
        self._step = step
        self._bar.update(step)
        self._bar.unpause()

    def on_step(self) -> None:
        """Move the bar by one step, or log a line if the last one is too old."""
        self._step += 1
        self._bar.update()
        if self._first_step is None:
            self._first_step = self._step
            self._started = self._last_line = self._clock()
            return
        is_first = self._last_line == self._started
        longest = SECONDS_TO_FIRST_LINE if is_first else SECONDS_WITHOUT_LINE
        if self._bar.disable and self._clock() - self._last_line >= longest:
            self._log("")

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the latest accuracies, averaged over seeds."""
        means = {
            split: sum(row[f"{split}_accuracy"] for row in rows) / len(rows)
            for split in ("valid", "test")
            if f"{split}_accuracy" in rows[0]
        }
        accuracy = ", ".join(f"{split} {mean:.1%}" for split, mean in means.items())
        self._bar.set_postfix_str(accuracy)
        is_due = self._clock() - self._last_line >= SECONDS_BETWEEN_LINES
        if self._bar.disable and (is_due or step == self._steps):
            self._log(f", {accuracy}")

    def _log(self, accuracy: str) -> None:
        self._last_line = self._clock()
        seconds = self._last_line - self._started
        speed = ""
        if self._first_step is not None and self._step > self._first_step and seconds > 0:
            rate = (self._step - self._first_step) / seconds
            left = tqdm.format_interval((self._steps - self._step) / rate)
            speed = f", {rate:.2g} steps/s" if rate < 10 else f", {rate:.0f} steps/s"
            speed += f", {left} left"
        logger.info("%s: step %d of %d%s%s", self._name, self._step, self._steps, speed, accuracy)

    def close(self) -> None:
        """Stop updating the bar."""
        self._bar.close()
