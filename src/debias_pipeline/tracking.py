"""What goes to MLflow: figures while training goes on, and a run per cell of a grid."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunStatus
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

NOT_FIGURES = ("step", "seed")

# As many as MLflow looks for at once; no cluster runs more cells at a time.
_MOST_RUNNING = 50000


class StepMetrics:
    """Logs loss terms and accuracies to the active MLflow run while training goes on.

    The names are `<method>.seed<seed>.<column of the history>`.
    """

    def __init__(self, method: str) -> None:
        """Set up.

        Args:
            method: name of what is trained.
        """
        self._method = method

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the whole history so far, so that the curves of the new run are complete."""
        del step
        of_step: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            of_step.setdefault(row["step"], []).append(row)
        for step, of_seeds in of_step.items():
            self.on_evaluation(step, of_seeds)

    def on_step(self) -> None:
        """A single step is not logged."""

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log new rows of the history, if a run is active."""
        if mlflow.active_run() is None:
            return
        figures = {
            f"{self._method}.seed{row['seed']}.{name}": value
            for row in rows
            for name, value in row.items()
            if name not in NOT_FIGURES and not math.isnan(value)
        }
        mlflow.log_metrics(figures, step=step)


@dataclass(frozen=True)
class ParentRun:
    """The MLflow run of a whole `kedro run`, as other processes need to know it.

    Attributes:
        tracking_uri: where MLflow keeps it.
        experiment_id: the experiment it belongs to.
        run_id: its own name.
    """

    tracking_uri: str
    experiment_id: str
    run_id: str


# The parent that another process runs, for what this process does in its name.
_elsewhere: ContextVar[ParentRun | None] = ContextVar("parent run elsewhere", default=None)


def active_parent() -> ParentRun | None:
    """The MLflow run active in this process, to hand to others; None where there is none."""
    run = mlflow.active_run()
    if run is None:
        return None
    return ParentRun(mlflow.get_tracking_uri(), run.info.experiment_id, run.info.run_id)


@contextmanager
def parent_elsewhere(parent: ParentRun | None) -> Iterator[None]:
    """Let `cell_run` and `resumed_parent` find the MLflow run that another process has begun.

    Args:
        parent: that run; None where nothing is tracked.
    """
    if parent is not None and mlflow.get_tracking_uri() != parent.tracking_uri:
        mlflow.set_tracking_uri(parent.tracking_uri)
    token = _elsewhere.set(parent)
    try:
        yield
    finally:
        _elsewhere.reset(token)


@contextmanager
def resumed_parent() -> Iterator[None]:
    """Make the run that another process has begun active here; it goes on afterwards."""
    parent = _elsewhere.get()
    if parent is None:
        yield
        return
    mlflow.start_run(run_id=parent.run_id)
    try:
        yield
    finally:
        # The process that began it ends it.
        mlflow.end_run(RunStatus.to_string(RunStatus.RUNNING))


@dataclass(frozen=True)
class CellRun:
    """The MLflow run of one cell of a grid.

    Attributes:
        run_id: its name in MLflow; None where nothing is tracked.
        experiment_id: the experiment it belongs to; None where nothing is tracked.
    """

    run_id: str | None = None
    experiment_id: str | None = None

    def log(
        self, params: Mapping[str, Any] | None = None, metrics: Mapping[str, Any] | None = None
    ) -> None:
        """Log parameters and figures, in one call; nothing happens where nothing is tracked.

        Args:
            params: such as a recipe. Those in a mapping of their own are named `outer.inner`.
            metrics: likewise. What is no number (a name, None, NaN) is left out.
        """
        if self.run_id is None:
            return
        now = int(time.time() * 1000)
        figures = {
            name: float(value)
            for name, value in _flat(metrics or {}).items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        mlflow.MlflowClient().log_batch(
            self.run_id,
            metrics=[Metric(name, value, now, step=0) for name, value in figures.items()],
            params=[
                Param(name, str(value)[:MAX_PARAM_VAL_LENGTH])
                for name, value in _flat(params or {}).items()
            ],
        )


@contextmanager
def cell_run(name: str, tags: Mapping[str, Any] | None = None) -> Iterator[CellRun]:
    """One cell of a grid as a child of the MLflow run of the whole grid.

    The parent is the run active in this process or, on a worker, the one that `parent_elsewhere`
    names. The child is active inside, so that `StepMetrics` logs to it, and ends as FINISHED;
    as FAILED on an error, which passes through; as KILLED when somebody interrupts it. What an
    earlier attempt at the cell under the same parent has left RUNNING, as its worker was killed,
    is marked KILLED.

    Args:
        name: of the cell, such as `cmnist_1pct.disent`.
        tags: what runs are filtered by.

    Yields:
        The child; one without a name where nothing is tracked.
    """
    parent = active_parent() or _elsewhere.get()
    if parent is None:
        yield CellRun()
        return
    if _elsewhere.get() is not None:
        end_running_children(parent, name)
    run = mlflow.start_run(
        run_name=name,
        experiment_id=parent.experiment_id,
        nested=True,
        parent_run_id=parent.run_id,
        tags=dict(tags or {}),
    )
    status = RunStatus.FAILED
    try:
        yield CellRun(run.info.run_id, run.info.experiment_id)
        status = RunStatus.FINISHED
    except KeyboardInterrupt:
        status = RunStatus.KILLED
        raise
    finally:
        mlflow.end_run(RunStatus.to_string(status))


def end_running_children(parent: ParentRun, name: str | None = None) -> None:
    """Mark as KILLED what is still RUNNING under a parent, as nobody works at it any more.

    Args:
        parent: the run of the whole grid.
        name: of the one cell that is meant; None for all.
    """
    client = mlflow.MlflowClient(parent.tracking_uri)
    wanted = f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{parent.run_id}'"
    if name is not None:
        wanted += f" and attributes.run_name = '{name}'"
    for run in client.search_runs([parent.experiment_id], wanted, max_results=_MOST_RUNNING):
        client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{inner}": each for inner, each in _flat(value).items()})
        else:
            flat[name] = value
    return flat
