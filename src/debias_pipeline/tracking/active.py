"""The run that is active: of the whole `kedro run`, or of the trial of a grid that runs here."""

import atexit

# MLflow imports it, and Python raises an error if that happens at exit; see `_end_at_exit`.
import concurrent.futures.thread  # noqa: F401
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from debias_pipeline.tracking.journal import FAILED, FINISHED, KILLED
from debias_pipeline.tracking.run import NO_RUN, ParentRun, TrackedRun
from debias_pipeline.tracking.sender import Sender
from debias_pipeline.tracking.settings import Destination


@dataclass(frozen=True)
class MethodRun:
    """A child run of one method, which is created when its first value is logged.

    Attributes:
        name: name of the run.
        tags: text to filter runs by.
        params: parameters to log.
    """

    name: str
    tags: Mapping[str, Any]
    params: Mapping[str, Any]


@dataclass
class _Tracking:
    """What is tracked, and the parent of trials: the run itself, or one of another process.

    Attributes:
        planned: child runs by method.
        methods: those of them that were created.
    """

    run: TrackedRun = NO_RUN
    parent: ParentRun | TrackedRun = NO_RUN
    sender: Sender | None = None
    pid: int = 0
    planned: Mapping[str, MethodRun] = field(default_factory=dict)
    methods: dict[str, TrackedRun] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of_method(self, method: str) -> TrackedRun:
        """Return the child run of a method, or the run itself if the method has none."""
        with self.lock:
            if method not in self.planned or self.sender is None or self.run.key is None:
                return self.run
            if method not in self.methods:
                plan = self.planned[method]
                child = TrackedRun.create(self.sender, plan.name, plan.tags, self.run)
                child.log(params=plan.params)
                self.methods[method] = child
            return self.methods[method]


# Of this process; nodes that run in other threads log to its run too.
_process = _Tracking()

# Of this thread: a trial, and the run that another process has started.
_trial: ContextVar[TrackedRun | None] = ContextVar("trial", default=None)
_elsewhere: ContextVar[_Tracking | None] = ContextVar("run of another process", default=None)


def active_run() -> TrackedRun:
    """Return the run to log to: that of the current trial, or that of the whole `kedro run`."""
    return _trial.get() or _process.run


def method_run(method: str) -> TrackedRun:
    """Return the run to which values of a method are logged.

    It is the run of the trial, the child run of the method, or the run of the whole `kedro run`.
    """
    return _trial.get() or _process.of_method(method)


def start_run(
    destination: Destination,
    root: Path,
    name: str,
    tags: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    methods: Mapping[str, MethodRun] | None = None,
) -> None:
    """Start the run of this process, without waiting for MLflow.

    A run of this process that has not ended is ended as KILLED.

    Args:
        root: folder of all journals.
        run_id: id of an existing MLflow run to continue; None creates a run.
        methods: child runs by method; without them, methods log to the run itself.
    """
    global _process
    end_run(KILLED)
    sender = Sender(destination, root, main=True)
    run = TrackedRun.create(sender, name, tags, NO_RUN, run_id=run_id)
    _process = _Tracking(run, run, sender, os.getpid(), methods or {})


def end_run(status: str) -> None:
    """End the run of this process, if there is one, and send what MLflow does not have.

    Args:
        status: FINISHED, FAILED or KILLED.
    """
    global _process
    ended, _process = _process, _Tracking()
    for run in (*ended.methods.values(), ended.run):
        run.end(status)
    if ended.sender is not None:
        ended.sender.close()


def end_method_run(method: str) -> None:
    """End the child run of a method as FINISHED, if it has one."""
    if method in _process.methods:
        _process.methods[method].end(FINISHED)


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
    """Return the active run of this process, to pass to other processes; None without a run.

    It waits for MLflow to create the run and its child runs, see `TrackedRun.wait`.
    """
    run, sender = _process.run, _process.sender
    if sender is None or run.key is None:
        return None
    children = {method: _process.of_method(method) for method in _process.planned}
    run.wait()

    def parent(run: TrackedRun) -> ParentRun:
        return ParentRun(
            sender.destination, str(sender.root), run.key or "", run.run_id, run.experiment_id
        )

    return replace(
        parent(run), methods={name: parent(child) for name, child in children.items() if child.key}
    )


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
def resumed_parent(method: str = "") -> Iterator[None]:
    """Make the run that another process has started active here, without ending it.

    Args:
        method: makes the child run of this method active, if there is one.
    """
    tracking = _elsewhere.get()
    if tracking is None:
        yield
        return
    parent = tracking.parent
    if isinstance(parent, ParentRun):
        parent = parent.methods.get(method, parent)
    with _child(parent=parent, continues_parent=True) as run:
        try:
            yield
        finally:
            run.end(None)


@contextmanager
def trial_run(
    name: str, tags: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None
) -> Iterator[TrackedRun]:
    """Track one trial of a grid or search as a child of the run of the whole command.

    The parent is the run active in this process or, on a worker, the one that `parent_elsewhere`
    names. The child is active inside. It ends as FINISHED, as FAILED on an error, and as KILLED on
    Ctrl-C. A worker also marks as KILLED what an earlier attempt at the trial under the same parent
    has left RUNNING, as its worker was killed.

    Args:
        name: name of the trial, such as `cmnist_1pct.disent`.
        tags: text to filter runs by.
        params: parameters to log.

    Yields:
        The child; a run that tracks nothing if there is no parent.
    """
    with _child(name, tags) as run:
        status = FAILED
        if params:
            run.log(params=params)
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
    """Mark child runs that are still RUNNING as KILLED.

    Does nothing if `parent` is not the active run of this process.
    """
    if _process.run.key == parent.key:
        _process.run.close_children()


@contextmanager
def _child(
    name: str = "",
    tags: Mapping[str, Any] | None = None,
    *,
    parent: ParentRun | TrackedRun | None = None,
    continues_parent: bool = False,
) -> Iterator[TrackedRun]:
    """Create a run below the parent, make it active within the block, and yield it; do not end it.

    Args:
        parent: None for the run of this process or, on a worker, that of `parent_elsewhere`.
        continues_parent: whether values go to the parent itself.

    Yields:
        The run; `NO_RUN` if nothing is tracked.
    """
    tracking = _elsewhere.get() or _process
    if tracking.sender is None or tracking.parent.key is None:
        yield NO_RUN
        return
    run = TrackedRun.create(
        tracking.sender,
        name,
        tags,
        parent or tracking.parent,
        continues_parent=continues_parent,
        replaces=tracking is not _process,
    )
    token = _trial.set(run)
    try:
        yield run
    finally:
        _trial.reset(token)


class StepMetrics:
    """Log the rows of a training history to the run of the method, see `method_run`.

    The names are `seed<seed>/<column of the history>`, the same for every method.
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
            values = {k: v for k, v in row.items() if k not in ("step", "seed")}
            method_run(self._method).log(
                metrics={f"seed{row['seed']}": values}, step=int(row["step"])
            )
