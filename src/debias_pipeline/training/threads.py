"""How many threads a training step computes with, on an idle and on a busy machine."""

import logging
import math
import statistics
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

AUTO: Final = "auto"
# Values of the parameter `threads`.
RequestedThreads: TypeAlias = int | Literal["auto"]

# Number of last steps whose mean time is compared with that of another number of threads.
_REMEMBERED, _FEWEST_REMEMBERED = 20, 6
# A probe makes one step more, in which threads start, and which is not counted.
_PROBE_STEPS = 10
# A probe succeeds if its steps take at most this fraction of the time.
_FASTER = 0.85
# After a failed probe, the next one waits for this many times the lost time: at most 1 % is lost.
_TRAINING_PER_LOSS = 100
_SECONDS_BETWEEN_PROBES = 1.0
# A warning is logged if steps take this many times as long as the fastest ones.
_SLOW = 3.0


class Stage(Protocol):
    """A stage of training, as far as `TrainingThreads` uses it."""

    def rehearse(self, precision: str) -> Sequence[Tensor]:
        """Return the results of steps, without changing anything."""


@contextmanager
def limited_threads(requested: RequestedThreads) -> Iterator[int]:
    """Compute with a number of threads and restore the previous number afterwards.

    Args:
        requested: `auto` keeps the number of the process: the number of cores unless
            OMP_NUM_THREADS says otherwise.

    Yields:
        The number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if requested == AUTO else requested)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


class TrainingThreads:
    """Choose the number of threads of every training step.

    On an idle machine, all threads are the fastest. On a busy one, each operation waits until all
    its threads have had a core, and a step of a small network takes many times as long as with one
    thread. So with `auto`, a few steps are made with fewer or more threads from time to time (a
    probe), and the faster number is used from then on.

    The number of threads may change the order of sums and so the result. A number is tried only if
    its results equal those of all threads bit for bit: before the first probe of a stage, steps
    are rehearsed with each number and compared. If they differ, all threads are used, and a
    warning is logged if steps become much slower. Everything except steps, such as evaluation,
    uses all threads.

    Attributes:
        most: number of all threads: as requested, or that of the process.
        steps: number of threads → number of steps made with it.
    """

    def __init__(self, requested: RequestedThreads, device: torch.device) -> None:
        """Set up.

        Args:
            requested: with `auto` the number is adapted to the load of the machine.
            device: on other devices than the CPU the number is never adapted.
        """
        self.most = torch.get_num_threads() if requested == AUTO else requested
        self.steps: Counter[int] = Counter()
        self._adapts = requested == AUTO and self.most > 1 and device.type == "cpu"
        self._count = self.most
        self._stage: Stage | None = None
        self._is_announced = False

    def state_dict(self) -> dict[str, int]:
        """Return `steps` as JSON values."""
        return {str(count): steps for count, steps in sorted(self.steps.items())}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore the result of `state_dict`."""
        self.steps = Counter({int(count): steps for count, steps in state.items()})

    def summary(self) -> str:
        """Return the numbers of threads that were used, such as "2 threads in 800 steps"."""
        return ", ".join(
            f"{_threads(count)} in {steps:,} steps" for count, steps in sorted(self.steps.items())
        )

    @contextmanager
    def chosen_for(self, stage: Stage, precision: str) -> Iterator[None]:
        """Compute with the chosen number of threads; the body makes one step of the stage.

        Args:
            stage: the current one.
            precision: fp32 or bf16.
        """
        if self._stage is not stage:
            self._begin(stage)
        count = self._probe.count if self._probe else self._count
        started = time.perf_counter()
        with limited_threads(count):
            yield
        self.steps[count] += 1
        if self._adapts:
            self._learn(stage, precision, started)

    def _learn(self, stage: Stage, precision: str, started: float) -> None:
        """Note the time of a step, and begin or end a probe if it is time to."""
        seconds = time.perf_counter() - started
        if self._probe:
            self._probe.seconds.append(seconds)
            self._end_if_decided(self._probe)
        else:
            self._recent.append(seconds)
            if len(self._recent) >= _FEWEST_REMEMBERED and started >= self._next_probe:
                self._begin_probe(stage, precision)

    def _begin(self, stage: Stage) -> None:
        """Start measuring again, as steps of another stage take another time."""
        self._stage = stage
        self._count = self.most
        self._counts: Sequence[int] = ()
        self._recent: deque[float] = deque(maxlen=_REMEMBERED)
        self._probe: _Probe | None = None
        self._next_probe = 0.0
        self._fewer = True
        self._fastest = math.inf

    def _begin_probe(self, stage: Stage, precision: str) -> None:
        if not self._counts:
            self._counts = _counts_with_same_results(stage, precision, self.most)
        mean = statistics.fmean(self._recent)
        if len(self._counts) == 1:
            self._warn_if_slow(mean)
            self._next_probe = time.perf_counter() + _SECONDS_BETWEEN_PROBES
            return
        position = self._counts.index(self._count)
        if position == (len(self._counts) - 1 if self._fewer else 0):
            self._fewer = not self._fewer
        self._probe = _Probe(self._counts[position + (1 if self._fewer else -1)], mean)

    def _end_if_decided(self, probe: "_Probe") -> None:
        """End the probe when its result is clear; keep its number of threads if it is faster."""
        if not probe.is_lost and len(probe.seconds) <= _PROBE_STEPS:
            return
        self._probe, loss = None, 0.0
        if probe.is_lost:
            loss = sum(probe.seconds) - len(probe.seconds) * probe.reference
            self._fewer = not self._fewer
        else:
            self._announce(probe)
            self._count = probe.count
            self._recent.clear()
        wait = max(_SECONDS_BETWEEN_PROBES, _TRAINING_PER_LOSS * loss)
        self._next_probe = time.perf_counter() + wait

    def _announce(self, probe: "_Probe") -> None:
        """Log the first change; `steps` counts later ones."""
        if self._is_announced:
            return
        self._is_announced = True
        logger.info(
            "Steps take %.1f ms with %s and %.1f ms with %s; the number of threads now follows "
            "the load of the machine, and results stay the same bit for bit",
            1000 * probe.mean, _threads(probe.count),
            1000 * probe.reference, _threads(self._count),
        )  # fmt: skip

    def _warn_if_slow(self, mean: float) -> None:
        """Warn once if steps become slow and the number of threads cannot be changed."""
        self._fastest = min(self._fastest, mean)
        if self._is_announced or mean < _SLOW * self._fastest:
            return
        self._is_announced = True
        logger.warning(
            "Steps take %.1f ms, earlier ones took %.1f ms; if other processes keep this machine "
            "busy, threads=1 may be faster. It is not chosen automatically, as its results "
            "differ in the last digits",
            1000 * mean, 1000 * self._fastest,
        )  # fmt: skip


@dataclass
class _Probe:
    """Some steps with another number of threads.

    Attributes:
        count: number of threads of the probe.
        reference: mean seconds of a step with the number before.
        seconds: of the steps so far. The first is not counted, as threads start in it.
    """

    count: int
    reference: float
    seconds: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Return the mean seconds of the counted steps."""
        return statistics.fmean(self.seconds[1:])

    @property
    def is_lost(self) -> bool:
        """Return whether the probe can no longer succeed."""
        return sum(self.seconds[1:]) > _PROBE_STEPS * _FASTER * self.reference


def _counts_with_same_results(stage: Stage, precision: str, most: int) -> list[int]:
    """Return `most`, its half and so on, as long as results equal those of `most`."""

    def rehearse(count: int) -> Sequence[Tensor]:
        with limited_threads(count):
            return stage.rehearse(precision)

    expected = rehearse(most)

    def is_same(count: int) -> bool:
        return all(map(torch.equal, rehearse(count), expected))

    fewer = (most >> halvings for halvings in range(1, most.bit_length()))
    return [most, *takewhile(is_same, fewer)]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
