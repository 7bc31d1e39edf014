"""Times of the steps of a real training run, with other work timed between them.

The steps are those of `debias_pipeline.training.train` itself, heard of as a listener: there is
no copy of the loop that could fall behind it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.steps import untrained
from benchmarks.timing import Timing, milliseconds_of
from debias_pipeline.evaluation import ImageData
from debias_pipeline.methods import Recipe
from debias_pipeline.training import train


class StepTimes:
    """Hears of every step: how long it took, and how long other calls take right after it."""

    def __init__(self, warm_up: int, calls: Mapping[str, Callable[[], object]]) -> None:
        """Set up.

        Args:
            warm_up: steps that are not counted.
            calls: what is timed between two steps, by name.
        """
        self.steps: list[float] = []
        self.others: dict[str, list[float]] = {name: [] for name in calls}
        self.evaluations: list[float] = []
        self._calls, self._warm_up, self._heard = calls, warm_up, 0
        self._since: float | None = None

    def on_step(self) -> None:
        """Note the step, then time the calls."""
        now = time.perf_counter()
        self._heard += 1
        counts = self._heard > self._warm_up
        if counts and self._since is not None:
            self.steps.append(1000 * (now - self._since))
        for name, call in self._calls.items():
            milliseconds = milliseconds_of(call)
            if counts:
                self.others[name].append(milliseconds)
        self._since = time.perf_counter()

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note the evaluation; the next step starts here."""
        del step, rows
        now = time.perf_counter()
        if self._since is not None:
            self.evaluations.append(1000 * (now - self._since))
        self._since = now


def time_steps(
    data: ImageData,
    recipe: Recipe,
    replicas: int,
    precision: str,
    *,
    rounds: int,
    warm_up: int,
    calls: Mapping[str, Callable[[], object]] | None = None,
) -> StepTimes:
    """Train for `warm_up` + `rounds` steps with one evaluation at the end; time each step.

    Args:
        data: the images.
        recipe: of the run; its number of steps does not matter.
        replicas: R.
        precision: fp32 or bf16.
        rounds: steps that count.
        warm_up: steps before them, at least one.
        calls: what is timed between two steps, by name.
    """
    steps = warm_up + rounds
    recipe = recipe.model_copy(update={"steps": steps, "eval_every": steps})
    times = StepTimes(warm_up, calls or {})
    train(untrained(data, recipe, replicas), recipe, data, precision=precision, listeners=[times])
    return times


def summaries(times: StepTimes) -> dict[str, Timing]:
    """Timings of `step` and of the calls between steps, by name, and their `ratio` to `alone`.

    The ratio is that of each step to the call right after it, so that a machine that slows down
    for a while slows both.
    """
    timings = {"step": Timing.of(times.steps)}
    timings |= {name: Timing.of(values) for name, values in times.others.items()}
    if "alone" in timings:
        pairs = zip(times.steps, times.others["alone"], strict=True)
        timings["ratio"] = Timing.of([step / alone for step, alone in pairs])
    return timings
