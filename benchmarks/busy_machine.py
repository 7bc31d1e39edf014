"""Steps of cmnist disent on an idle and on a busy machine, by what chooses the threads.

Run as `python -m benchmarks.busy_machine`; the machine should be idle otherwise.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.steps import cmnist_like_data, published_recipe, untrained
from benchmarks.tables import busy_table, print_whole
from debias_pipeline.training import TrainingThreads, limited_threads, train

LOADS = {"idle": 0, "1 busy process": 1, "4 busy processes": 4, "a second run": 0}
# By name: the parameter `threads` (None is the number of cores) and environment variables.
CHOICES: Mapping[str, tuple[int | str | None, Mapping[str, str]]] = {
    "one thread": (1, {}),
    "all threads": (None, {}),
    "passive": (None, {"OMP_WAIT_POLICY": "passive"}),
    "auto": ("auto", {}),
}
# Of a run: not counted, then counted.
# On a very busy machine `auto` has made its first choice and confirmed it after some seven seconds.
SETTLING, SECONDS = 10.0, 8.0
FEW_IMAGES = {"train": 10_000, "valid": 100, "test": 100}
# A busy process ends by itself after a while, even if nobody is left to stop it.
BUSY = "import time\nend = time.time() + 300\nwhile time.time() < end: pass"


def measure_busy(rounds: int) -> list[dict[str, Any]]:
    """Time steps under each load with each choice, in turn.

    Args:
        rounds: how often each is measured.

    Returns:
        An entry per load and choice: `load`, `choice`, `milliseconds` (median over the rounds of
        the mean step), `ratio` to the best fixed choice of the same round (median), and `steps`
        of the last round by number of threads.
    """
    measured: dict[tuple[str, str], list[dict[str, Any]]] = {
        case: [] for case in itertools.product(LOADS, CHOICES)
    }
    for _, (load, choice) in itertools.product(range(rounds), measured):
        print(f"measuring {choice}, {load} ...", file=sys.stderr, flush=True)
        with busy_processes(LOADS[load]):
            measured[load, choice].append(run_alone_or_twice(choice, 1 + (load == "a second run")))
    entries = []
    for (load, choice), runs in measured.items():
        fixed = [measured[load, each] for each in CHOICES if each != "auto"]
        best = [min(run["milliseconds"] for run in runs) for runs in zip(*fixed, strict=True)]
        times = [run["milliseconds"] for run in runs]
        ratios = [time / least for time, least in zip(times, best, strict=True)]
        entries.append(
            {
                "load": load,
                "choice": choice,
                "milliseconds": statistics.median(times),
                "ratio": statistics.median(ratios),
                "steps": runs[-1]["steps"],
            }
        )
    return entries


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep processes busy meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_alone_or_twice(choice: str, count: int) -> dict[str, Any]:
    """Train in processes of their own, side by side; return the mean step and the threads."""
    plain = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    command = [sys.executable, "-m", "benchmarks.busy_machine", "--train", choice]
    processes = [
        subprocess.Popen(command, env=plain | CHOICES[choice][1], stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    outputs = [process.communicate()[0] for process in processes]
    # Log lines may go before.
    runs = [json.loads(output.splitlines()[-1]) for output in outputs]
    mean = statistics.fmean(run["milliseconds"] for run in runs)
    return {"milliseconds": mean, "steps": runs[0]["steps"]}


class _EnoughError(Exception):
    """Ends training."""


class _Clock:
    """Times steps between two moments."""

    def __init__(self) -> None:
        self.started = self.counted_from = time.perf_counter()
        self.steps = 0

    def on_step(self) -> None:
        now = time.perf_counter()
        if now < self.started + SETTLING:
            self.counted_from = now
            return
        self.steps += 1
        if now > self.started + SETTLING + SECONDS:
            self.milliseconds = 1000 * (now - self.counted_from) / self.steps
            raise _EnoughError

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """No step is followed by one."""

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing is resumed."""


def train_a_while(choice: str) -> dict[str, Any]:
    """Train until enough steps are timed."""
    requested = CHOICES[choice][0] or os.cpu_count() or 1
    data, recipe = cmnist_like_data(FEW_IMAGES), published_recipe("cmnist", "disent")
    recipe = recipe.model_copy(update={"eval_every": recipe.steps})
    with limited_threads(requested):
        threads, clock = TrainingThreads(requested, data.device), _Clock()
        with suppress(_EnoughError):
            train(untrained(data, recipe, 1), recipe, data, listeners=[clock], threads=threads)
    return {"milliseconds": clock.milliseconds, "steps": threads.state_dict()}


def main() -> None:
    """Measure and print a table, or train once for it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy_machine", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", choices=CHOICES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train_a_while(options.train)))
        return
    print_whole(busy_table(measure_busy(options.rounds)))


if __name__ == "__main__":
    main()
