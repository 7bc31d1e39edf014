"""Real training runs that take their steps in turn, so that a busy machine slows all of them."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from debias_pipeline.training.loop import Listener


class Turns:
    """One run goes on at a time; after `block` steps the next one does."""

    def __init__(self, names: Sequence[str], block: int) -> None:
        """Set up.

        Args:
            names: of the runs, in the order in which they take turns.
            block: steps of a turn.
        """
        self.block = block
        self._waiting = list(names)
        self._changed = threading.Condition()

    def take(self, name: str) -> None:
        """Wait until it is the turn of a run."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting[0] == name)

    def pass_on(self, name: str) -> None:
        """Let the next run go on, and queue up behind it."""
        with self._changed:
            self._waiting.remove(name)
            self._waiting.append(name)
            self._changed.notify_all()

    def leave(self, name: str) -> None:
        """Take no more turns."""
        with self._changed:
            self._waiting.remove(name)
            self._changed.notify_all()


class StepsInTurn:
    """Hears of every step of one run; holds it up while it is another's turn."""

    def __init__(self, name: str, turns: Turns) -> None:
        self.milliseconds: list[float] = []
        self._name, self._turns = name, turns
        self._heard = 0
        self._since: float | None = None

    def on_step(self) -> None:
        """Note the time of the step."""
        now = time.perf_counter()
        if self._since is not None:
            self.milliseconds.append(1000 * (now - self._since))
        self._heard += 1
        if self._heard % self._turns.block == 0:
            self._turns.pass_on(self._name)
            self._turns.take(self._name)
        self._since = time.perf_counter()

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Leave the evaluation out of the next step."""
        del step, rows
        self._since = None


def step_times(
    runs: Mapping[str, Callable[[Listener], object]], *, block: int, warm_up: int
) -> dict[str, list[float]]:
    """Milliseconds of every step of several runs; steps at the same place were taken in turn.

    Args:
        runs: name → what trains and tells a listener of its steps; the same number of steps in
            each.
        block: steps that a run takes in one turn.
        warm_up: first steps of each run, which do not count.
    """
    turns = Turns(list(runs), block)
    listeners = {name: StepsInTurn(name, turns) for name in runs}

    def run(name: str) -> None:
        turns.take(name)
        try:
            runs[name](listeners[name])
        finally:
            turns.leave(name)

    with ThreadPoolExecutor(len(runs)) as threads:
        for done in [threads.submit(run, name) for name in runs]:
            done.result()
    return {name: each.milliseconds[warm_up:] for name, each in listeners.items()}
