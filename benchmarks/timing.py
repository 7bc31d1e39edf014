"""Timing things in turn, so that a machine's moods fall on all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: median and quartiles over all rounds."""

    median: float
    lower: float
    upper: float


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 10
) -> dict[str, Timing]:
    """Time several calls, one of each a round."""
    for _ in range(warm_up):
        for call in calls.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: _summary(values) for name, values in seconds.items()}


def _summary(seconds: list[float]) -> Timing:
    lower, median, upper = (1000 * each for each in statistics.quantiles(seconds, n=4))
    return Timing(median, lower, upper)
