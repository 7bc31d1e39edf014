"""Times of the steps of a real training run, in turn with other work, block by block.

The steps are those of `debias_pipeline.training.train` itself, heard of as a listener: there is
no copy of the loop that could fall behind it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.steps import untrained
from benchmarks.timing import Timing, milliseconds_of
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Recipe
from debias_pipeline.training import train

Calls = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Blocks:
    """How steps and calls take turns: `count` times a block of steps, then one of each call.

    The first step of a block and the first repetition of a call are not counted: they find the
    caches full of what ran before.

    Attributes:
        count: how many blocks.
        steps: of a block, at least two.
        calls: how often each call is repeated in its block, at least twice.
    """

    count: int
    steps: int
    calls: int = 2


class StepTimes:
    """Hears of every step: how long it took, and how long calls take between blocks of steps.

    Attributes:
        steps: milliseconds of the counted steps, by block.
        others: name of a call → milliseconds of its counted repetitions, by block.
        evaluations: milliseconds of evaluations.
    """

    def __init__(self, blocks: Blocks, warm_up: int, calls: Calls) -> None:
        """Set up.

        Args:
            blocks: how steps and calls take turns.
            warm_up: steps before the first block.
            calls: what is timed between two blocks of steps, by name.
        """
        self.steps: list[list[float]] = []
        self.others: dict[str, list[list[float]]] = {name: [] for name in calls}
        self.evaluations: list[float] = []
        self._blocks, self._calls, self._to_warm_up = blocks, calls, warm_up
        self._block: list[float] = []
        # The first step of a run has its set-up in it, and is never counted.
        self._since = time.perf_counter()

    def on_step(self) -> None:
        """Note the step; after the last of a block, time the calls."""
        milliseconds = 1000 * (time.perf_counter() - self._since)
        if self._to_warm_up:
            self._to_warm_up -= 1
        else:
            self._block.append(milliseconds)
        if len(self._block) == self._blocks.steps:
            self._close_block()
        self._since = time.perf_counter()

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note the evaluation; the next step starts here."""
        del step, rows
        now = time.perf_counter()
        self.evaluations.append(1000 * (now - self._since))
        self._since = now

    def _close_block(self) -> None:
        self.steps.append(self._block[1:])
        self._block = []
        for name, call in self._calls.items():
            repetitions = [milliseconds_of(call) for _ in range(self._blocks.calls)]
            self.others[name].append(repetitions[1:])


def time_steps(
    data: ImageData,
    recipe: Recipe,
    replicas: int,
    precision: str,
    *,
    blocks: Blocks,
    warm_up: int = 0,
    calls: Calls | None = None,
) -> StepTimes:
    """Train for `warm_up` steps and all blocks, with one evaluation at the end; time each step.

    Args:
        data: the images.
        recipe: of the run; its number of steps does not matter.
        replicas: R.
        precision: fp32 or bf16.
        blocks: how steps and calls take turns.
        warm_up: steps before the first block.
        calls: what is timed between two blocks of steps, by name.
    """
    steps = warm_up + blocks.count * blocks.steps
    recipe = recipe.model_copy(update={"steps": steps, "eval_every": steps})
    times = StepTimes(blocks, warm_up, calls or {})
    train(untrained(data, recipe, replicas), recipe, data, precision=precision, listeners=[times])
    return times


def summaries(times: StepTimes) -> dict[str, Timing]:
    """Timings of `step` and of the calls, by name, and the `ratio` of step to `alone`.

    Each is the median of a block, summarised over blocks. A block's ratio is to the calls right
    after it, so that a machine that slows down for a while slows both.
    """
    medians = {
        name: [median(block) for block in blocks]
        for name, blocks in {"step": times.steps, **times.others}.items()
    }
    if "alone" in medians:
        pairs = zip(medians["step"], medians["alone"], strict=True)
        medians["ratio"] = [step / alone for step, alone in pairs]
    return {name: Timing.of(values) for name, values in medians.items()}
