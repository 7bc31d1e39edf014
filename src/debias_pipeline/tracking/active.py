"""The run that is active: of the whole `kedro run`, or of the trial of a grid that runs here."""

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.tracking.context.registry import resolve_tags

from debias_pipeline.tracking.run import NO_RUN, ParentRun, TrackedRun
from debias_pipeline.tracking.sender import Sender
from debias_pipeline.tracking.store import KILLED, Destination

FINISHED, FAILED = "FINISHED", "FAILED"


@dataclass
class _Tracking:
    """What is tracked, and the parent of trials: the run itself, or one of another process."""

    run: TrackedRun = NO_RUN
    parent: ParentRun | TrackedRun = NO_RUN
    sender: Sender | None = None
    pid: int = 0


# Of this process; nodes that run in other threads log to its run too.
_process = _Tracking()

# Of this thread: a trial, and the run that another process has started.
_trial: ContextVar[TrackedRun | None] = ContextVar("trial", default=None)
_elsewhere: ContextVar[_Tracking | None] = ContextVar("run of another process", default=None)


def active_run() -> TrackedRun:
    """Return the run to log to: that of the current trial, or that of the whole `kedro run`."""
    return _trial.get() or _process.run


def start_run(
    destination: Destination,
    root: Path,
    name: str,
    tags: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> None:
    """Start the run of this process, without waiting for MLflow.

    Args:
        root: folder of all journals.
        run_id: id of an existing MLflow run to continue; None creates a run.
    """
    global _process
    end_run(KILLED)
    sender = Sender(destination, root, main=True)
    all_tags = {**resolve_tags(), **(tags or {})}
    run = TrackedRun.create(sender, name, all_tags, NO_RUN, run_id=run_id)
    _process = _Tracking(run, run, sender, os.getpid())


def end_run(status: str) -> None:
    """End the run of this process, if there is one, and send what MLflow does not have.

    Args:
        status: FINISHED, FAILED or KILLED.
    """
    global _process
    ended, _process = _process, _Tracking()
    ended.run.end(status)
    if ended.sender is not None:
        ended.sender.close()


@contextmanager
def killed_when_interrupted() -> Iterator[None]:
    """End the active run as KILLED if the block is left by Ctrl-C or SystemExit.

    Kedro calls no hook for them, as they are not subclasses of Exception.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        end_run(KILLED)
        raise


@atexit.register
def _end_at_exit() -> None:
    """End a run that is still active as KILLED, e.g. in a script; a fork has no run to end."""
    if _process.pid == os.getpid():
        end_run(KILLED)


def active_parent() -> ParentRun | None:
    """Return the active run of this process, to pass to other processes; None without a run."""
    run, sender = _process.run, _process.sender
    if sender is None or run.key is None:
        return None
    run.wait()
    return ParentRun(sender.destination, str(sender.root), run.key, run.run_id, run.experiment_id)


@contextmanager
def parent_elsewhere(parent: ParentRun | None) -> Iterator[None]:
    """Let `trial_run` and `resumed_parent` use a run that another process has started."""
    if parent is None:
        yield
        return
    sender = Sender(parent.destination, Path(parent.root), main=False)
    token = _elsewhere.set(_Tracking(parent=parent, sender=sender))
    try:
        yield
    finally:
        _elsewhere.reset(token)
        sender.close()


@contextmanager
def resumed_parent() -> Iterator[None]:
    """Make the run that another process has started active here, without ending it."""
    if _elsewhere.get() is None:
        yield
        return
    with _child(continues_parent=True) as run:
        try:
            yield
        finally:
            run.end(None)


@contextmanager
def trial_run(name: str, tags: Mapping[str, Any] | None = None) -> Iterator[TrackedRun]:
    """Track one trial of a grid as a child of the run of the whole grid.

    The parent is the run active in this process or, on a worker, the one that `parent_elsewhere`
    names. The child is active inside. It ends as FINISHED, as FAILED on an error, and as KILLED on
    Ctrl-C. A worker also marks as KILLED what an earlier attempt at the trial under the same parent
    has left RUNNING, as its worker was killed.

    Args:
        name: name of the trial, such as `cmnist_1pct.disent`.
        tags: text to filter runs by.

    Yields:
        The child; a run that tracks nothing if there is no parent.
    """
    with _child(name, tags) as run:
        status = FAILED
        try:
            yield run
            status = FINISHED
        except (KeyboardInterrupt, SystemExit):
            status = KILLED
            raise
        finally:
            run.end(status)
            if status != KILLED:
                run.wait()


def end_running_children(parent: ParentRun) -> None:
    """Mark as KILLED what is still RUNNING under the run of this process, if it is `parent`."""
    if _process.run.key == parent.key:
        _process.run.close_children()


@contextmanager
def _child(
    name: str = "", tags: Mapping[str, Any] | None = None, *, continues_parent: bool = False
) -> Iterator[TrackedRun]:
    """Create a run below the parent and make it active."""
    tracking = _elsewhere.get() or _process
    if tracking.sender is None or tracking.parent.key is None:
        yield NO_RUN
        return
    run = TrackedRun.create(
        tracking.sender,
        name,
        tags,
        tracking.parent,
        continues_parent=continues_parent,
        replaces=tracking is not _process,
    )
    token = _trial.set(run)
    try:
        yield run
    finally:
        _trial.reset(token)


class StepMetrics:
    """Logs the rows of a training history to the active run.

    The names are `<method>.seed<seed>.<column of the history>`.
    """

    def __init__(self, method: str) -> None:
        self._method = method

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the history so far, so that the curves of the new run are complete."""
        del step
        self._log(rows)

    def on_step(self) -> None:
        """Do nothing, as single steps are not logged."""

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log new rows of the history."""
        self._log([{**row, "step": step} for row in rows])

    def _log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            prefix = f"{self._method}.seed{row['seed']}"
            values = {k: v for k, v in row.items() if k not in ("step", "seed")}
            active_run().log(metrics={prefix: values}, step=int(row["step"]))
