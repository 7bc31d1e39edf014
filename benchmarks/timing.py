"""Timing things in turn, so that a machine's moods fall on all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """One call, repeated: median and quartiles over all rounds, in milliseconds unless said."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Timing":
        """Summarise repeated measurements; a single one has no spread."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper)


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 10
) -> dict[str, Timing]:
    """Time several calls, one of each a round."""
    for _ in range(warm_up):
        for call in calls.values():
            call()
    milliseconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            milliseconds[name].append(milliseconds_of(call))
    return {name: Timing.of(values) for name, values in milliseconds.items()}


def milliseconds_of(call: Callable[[], object]) -> float:
    """What one call takes."""
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)
