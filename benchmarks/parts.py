"""Where the time of a training run goes."""

import contextlib
import functools
import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.steps import untrained
from debias_pipeline.images import ImageData
from debias_pipeline.io.snapshots import SnapshotStore
from debias_pipeline.losses import ClassNormalisedAverage
from debias_pipeline.methods import Recipe
from debias_pipeline.tracking import (
    FINISHED,
    Destination,
    StepMetrics,
    active_run,
    end_run,
    start_run,
)
from debias_pipeline.training import Listener, Progress, Snapshots, train
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.loop import _Trainer
from debias_pipeline.training.window import Window

# Of published recipes: what the shares of evaluation and logging are worked out for.
EVAL_EVERY = 500
REST = "rest of the step"
SNAPSHOTS = "snapshots"
EVALUATION, LOGGING = "evaluation", "logging"
PARTS = (
    "gather and transforms",
    "forward",
    "backward",
    "optimiser",
    "averages and weights",
    REST,
    EVALUATION,
    LOGGING,
)

# The pieces that the loop is put together from. Time in a piece within a piece counts once, for
# the inner one: the averages are renewed while a method computes its losses.
PIECES: Mapping[str, Sequence[tuple[Any, str]]] = {
    "gather and transforms": [(BatchStream, "next")],
    "backward": [(torch.autograd, "backward")],
    "optimiser": [(torch.optim.Adam, "step")],
    "averages and weights": [(ClassNormalisedAverage, "update"), (Window, "add")],
}


class Clock:
    """Seconds by part; of nested parts only the innermost runs."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.seconds: dict[str, float] = defaultdict(float)
        self._running = [REST]
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Let the time inside count for a part."""
        self._settle()
        self._running.append(name)
        try:
            yield
        finally:
            self._settle()
            self._running.pop()

    def outermost(self, name: str) -> None:
        """Let the time outside of all other parts count for this one from now on."""
        self._settle()
        self._running[0] = name

    def restart(self) -> None:
        """Forget what was counted."""
        self._settle()
        self.seconds.clear()

    def reading(self) -> dict[str, float]:
        """The seconds up to now."""
        self._settle()
        return dict(self.seconds)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counting for a part."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return wrapper

    def _settle(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now


@dataclass(frozen=True)
class Parts:
    """Milliseconds by part: of a step (means), and of an evaluation (means)."""

    per_step: Mapping[str, float]
    per_evaluation: Mapping[str, float]

    def with_evaluation_times(self, factor: float) -> "Parts":
        """As it would be with so many times the images to evaluate."""
        evaluation = factor * self.per_evaluation[EVALUATION]
        return Parts(self.per_step, {**self.per_evaluation, EVALUATION: evaluation})

    def shares(self, eval_every: int = EVAL_EVERY) -> dict[str, float]:
        """The share of each part of a run that is evaluated every so many steps; they sum to 1."""
        total = {
            part: eval_every * self.per_step.get(part, 0.0) + self.per_evaluation.get(part, 0.0)
            for part in PARTS
        }
        return {part: each / sum(total.values()) for part, each in total.items()}


class _Timed:
    """A listener whose time counts as logging."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self.on_step = clock.timed("logging a step", listener.on_step)
        self.on_evaluation = clock.timed(LOGGING, listener.on_evaluation)


class _Marker:
    """The last listener: tells the clock what the loop does next."""

    def __init__(self, clock: Clock, warm_up: int, eval_every: int) -> None:
        self._clock, self._warm_up, self._eval_every = clock, warm_up, eval_every
        self._heard = 0
        self.reading: dict[str, float] = {}

    def on_step(self) -> None:
        self._heard += 1
        if self._heard == self._warm_up:
            self._clock.restart()
        if self._heard % self._eval_every == 0:
            self._clock.outermost(EVALUATION)

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        del step, rows
        self._clock.outermost(REST)
        # What follows the last evaluation is done once a run.
        self.reading = self._clock.reading()


def measure_parts(
    data: ImageData,
    recipe: Recipe,
    replicas: int,
    precision: str,
    *,
    steps: int,
    evaluations: int,
    warm_up: int,
) -> Parts:
    """Train with real listeners and a real MLflow store, timing each piece.

    Args:
        data: the images.
        recipe: of the run.
        replicas: R.
        precision: fp32 or bf16.
        steps: how many, a multiple of `evaluations`.
        evaluations: how many.
        warm_up: steps that are not counted, fewer than those before the first evaluation.
    """
    eval_every = steps // evaluations
    recipe = recipe.model_copy(update={"steps": steps, "eval_every": eval_every})
    method, clock = untrained(data, recipe, replicas), Clock()
    marker = _Marker(clock, warm_up, eval_every)
    method.losses = clock.timed("forward", method.losses)
    with contextlib.ExitStack() as stack:
        for part, pieces in PIECES.items():
            for owner, name in pieces:
                timed = clock.timed(part, getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, timed))
        with real_listeners(recipe) as listeners:
            timed_listeners = [_Timed(each, clock) for each in listeners]
            train(method, recipe, data, precision=precision, listeners=[*timed_listeners, marker])
    return _means(marker.reading, steps - warm_up, evaluations)


def share_of_snapshots(data: ImageData, recipe: Recipe, replicas: int, steps: int) -> float:
    """Return the share of a training run that is spent on saving snapshots to a local disk.

    Args:
        data: the images.
        recipe: of the run.
        replicas: R.
        steps: how many, several times `EVAL_EVERY`.
    """
    recipe = recipe.model_copy(update={"steps": steps, "eval_every": EVAL_EVERY})
    method, clock = untrained(data, recipe, replicas), Clock()
    save = clock.timed(SNAPSHOTS, _Trainer._save_snapshot)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(_Trainer, "_save_snapshot", save),
    ):
        clock.restart()
        train(method, recipe, data, snapshots=Snapshots(SnapshotStore(folder, {}), {}, {}))
    seconds = clock.reading()
    return seconds[SNAPSHOTS] / sum(seconds.values())


def _means(seconds: dict[str, float], steps: int, evaluations: int) -> Parts:
    per_evaluation = {
        part: 1000 * seconds.pop(part, 0.0) / evaluations for part in (EVALUATION, LOGGING)
    }
    seconds[LOGGING] = seconds.pop("logging a step", 0.0)
    return Parts({part: 1000 * each / steps for part, each in seconds.items()}, per_evaluation)


@contextlib.contextmanager
def real_listeners(recipe: Recipe) -> Iterator[list[Listener]]:
    """The listeners of a `kedro run`: a progress display, and figures to the active MLflow run."""
    with contextlib.redirect_stderr(io.StringIO()):
        progress = Progress(recipe.method, recipe.steps)
        yield [progress, StepMetrics(recipe.method)]
        progress.close()


@contextlib.contextmanager
def mlflow_run() -> Iterator[None]:
    """An active MLflow run in a store of its own, of the kind that the project has."""
    with tempfile.TemporaryDirectory() as folder:
        destination = Destination(f"sqlite:///{folder}/mlflow.db", "benchmarks", "benchmarks")
        start_run(destination, Path(folder) / "pending", "benchmark")
        try:
            # The first metric of a process takes seconds: it is no part of what a step costs.
            active_run().log(metrics={"warm_up": 0})
            active_run().wait()
            yield
        finally:
            end_run(FINISHED)
