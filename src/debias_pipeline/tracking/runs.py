"""MLflow runs: one per `kedro run`, and a child per trial of a grid."""

import atexit
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

from debias_pipeline.errors import one_line
from debias_pipeline.nested import flattened
from debias_pipeline.tracking.records import CLOSE, CLOSE_CHILDREN, END, LOG, RunRecords
from debias_pipeline.tracking.sender import Sender
from debias_pipeline.tracking.store import Destination

logger = logging.getLogger(__name__)

NOT_METRICS: Final = ("step", "seed")

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"

# Seconds that whoever needs the id of a new run waits for it.
_FOR_AN_ID = 30

_NOT_IN_NAMES = re.compile(r"[^/\w.\- :]")


class TrackedRun:
    """A run whose values are recorded on disk and sent to MLflow; no method raises an exception.

    A run without records tracks nothing.
    """

    def __init__(self, records: RunRecords | None = None, sender: Sender | None = None) -> None:
        self._records, self._sender = records, sender
        self._params: set[str] = set()

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None before MLflow has created it."""
        return self._records.state.run_id if self._records is not None else None

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None before MLflow has created the run."""
        return self._records.state.experiment_id if self._records is not None else None

    @property
    def key(self) -> str | None:
        """The name of the run on this machine."""
        return self._records.key if self._records is not None else None

    def log(
        self,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
    ) -> None:
        """Log parameters, metrics and tags.

        Args:
            params: such as a recipe. Those in a nested mapping are named `outer.inner`. One that
                was logged before is skipped.
            metrics: named in the same way. What is not a finite number is skipped.
            tags: text to filter runs by.
            step: of the metrics.
        """
        new = {
            _valid(name): str(value)[:MAX_PARAM_VAL_LENGTH]
            for name, value in flattened(params or {}).items()
            if name not in self._params
        }
        self._params |= set(flattened(params or {}))
        self._record(
            LOG,
            params=new,
            metrics={
                _valid(name): float(value)
                for name, value in flattened(metrics or {}).items()
                if isinstance(value, int | float) and math.isfinite(value)
            },
            tags={name: str(value)[:MAX_TAG_VAL_LENGTH] for name, value in (tags or {}).items()},
            step=step,
        )

    def log_artifact(self, path: Path, artifact_path: str) -> None:
        """Log a copy of a file, into a folder of the run's artifacts."""
        if self._records is not None and self._sender is not None:
            try:
                self._records.keep_artifact(path, artifact_path)
            except OSError as error:
                self._give_up(error)
            else:
                self._sender.notify()

    def close_other(self, run_id: str) -> None:
        """Mark another run and its children as KILLED where they are RUNNING."""
        self._record(CLOSE, run_id=run_id)

    def close_children(self) -> None:
        """Mark the children that are RUNNING as KILLED."""
        self._record(CLOSE_CHILDREN)

    def end(self, status: str | None) -> None:
        """End the run; None leaves it as it is, for the process that started it."""
        self._record(END, status=status)

    def wait(self) -> None:
        """Wait until everything is sent, or MLflow has failed."""
        if self._sender is not None:
            self._sender.wait(_FOR_AN_ID)

    def _record(self, kind: str, **fields: Any) -> None:
        if self._records is None or self._sender is None:
            return
        try:
            self._records.append(kind, **fields)
        except OSError as error:
            self._give_up(error)
        else:
            self._sender.notify()

    def _give_up(self, error: OSError) -> None:
        logger.warning("MLflow gets no further values of this run: %s", one_line(error))
        self._records = None


_NO_RUN: Final = TrackedRun()


@dataclass
class _Process:
    """The run that this process tracks; nodes that run in other threads log to it too."""

    run: TrackedRun = _NO_RUN
    sender: Sender | None = None
    pid: int = 0


_process = _Process()

# The trial that runs in this thread.
_trial: ContextVar[TrackedRun | None] = ContextVar("trial", default=None)


def active_run() -> TrackedRun:
    """Return the run that is tracked here: of a trial, or of the whole `kedro run`."""
    return _trial.get() or _process.run


def active_run_id() -> str | None:
    """Return MLflow's id of the active run; None where there is none (yet)."""
    return active_run().run_id


def start_run(
    destination: Destination,
    root: Path,
    name: str,
    tags: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> None:
    """Start the run of this process. It does not wait for MLflow.

    Args:
        destination: where MLflow keeps runs.
        root: folder for what MLflow does not take.
        name: of the run.
        tags: text to filter runs by.
        run_id: of a run that exists in MLflow and is continued; None creates one.
    """
    end_run(KILLED)
    all_tags = {**resolve_tags(), **(tags or {})}
    sender = Sender(destination, root, main=True)
    _process.sender, _process.pid = sender, os.getpid()
    _process.run = _started(sender, name=name, tags=all_tags, run_id=run_id)


def end_run(status: str) -> None:
    """End the run of this process, if there is one, and send what MLflow does not have.

    Args:
        status: FINISHED, FAILED or KILLED.
    """
    run, sender = _process.run, _process.sender
    _process.run, _process.sender = _NO_RUN, None
    run.end(status)
    if sender is not None:
        sender.close()


@contextmanager
def killed_when_interrupted() -> Iterator[None]:
    """End the active run as KILLED if the block is left by Ctrl-C or SystemExit.

    Kedro's hooks see neither: both are no subclass of Exception.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException:
        end_run(KILLED)
        raise


@atexit.register
def _end_at_exit() -> None:
    """End as KILLED what nothing else has ended, e.g. in a script. A fork has no run to end."""
    if _process.pid == os.getpid():
        end_run(KILLED)


def close_stale_run(run_id: str) -> None:
    """Mark a run that was killed, and its children, as KILLED where MLflow has them RUNNING.

    It is sent together with the active run, also later if MLflow cannot be reached. A run that
    this project's folder still has records of needs no call: every new run closes it.
    """
    active_run().close_other(run_id)


def log_history(method: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Log rows of a training history to the active run, e.g. all rows so far of a resumed training.

    The names are `<method>.seed<seed>.<column of the history>`.

    Args:
        method: name of what is trained.
        rows: with `step`, `seed`, and values of which those that are NaN are skipped.
    """
    run = active_run()
    for step in dict.fromkeys(row["step"] for row in rows):
        metrics = {
            f"{method}.seed{row['seed']}.{name}": value
            for row in rows
            if row["step"] == step
            for name, value in row.items()
            if name not in NOT_METRICS
        }
        run.log(metrics=metrics, step=int(step))


class StepMetrics:
    """Logs loss terms and accuracies to the active run during training."""

    def __init__(self, method: str) -> None:
        """Set up.

        Args:
            method: name of what is trained.
        """
        self._method = method

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the history so far, so that the curves of the new run are complete."""
        del step
        log_history(self._method, rows)

    def on_step(self) -> None:
        """A single step is not logged."""

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log new rows of the history."""
        log_history(self._method, [{**row, "step": step} for row in rows])


@dataclass(frozen=True)
class ParentRun:
    """The run of a whole `kedro run`, for other processes.

    Attributes:
        destination: where MLflow keeps it.
        root: folder for what MLflow does not take.
        key: name of the run on the machine that started it.
        run_id: its id in MLflow; None if MLflow did not answer.
        experiment_id: of its experiment; None if MLflow did not answer.
    """

    destination: Destination
    root: str
    key: str
    run_id: str | None
    experiment_id: str | None


# The parent that another process runs.
_elsewhere: ContextVar[ParentRun | None] = ContextVar("parent run elsewhere", default=None)


def active_parent() -> ParentRun | None:
    """Return the active run of this process, to hand to others; None where there is none."""
    run, sender = _process.run, _process.sender
    if sender is None or run.key is None:
        return None
    run.wait()
    return ParentRun(sender.destination, str(sender.root), run.key, run.run_id, run.experiment_id)


@contextmanager
def parent_elsewhere(parent: ParentRun | None) -> Iterator[None]:
    """Let `cell_run` and `resumed_parent` find the run that another process has started.

    Args:
        parent: that run; None where nothing is tracked.
    """
    token = _elsewhere.set(parent)
    try:
        yield
    finally:
        _elsewhere.reset(token)


@contextmanager
def resumed_parent() -> Iterator[None]:
    """Make the run that another process has started active here; it goes on afterwards."""
    parent = _elsewhere.get()
    if parent is None:
        yield
        return
    with _worker_sender(parent) as sender:
        run = _started(sender, name="", parent=parent, continues_parent=True)
        token = _trial.set(run)
        try:
            yield
        finally:
            _trial.reset(token)
            run.end(None)


@contextmanager
def cell_run(name: str, tags: Mapping[str, Any] | None = None) -> Iterator[TrackedRun]:
    """Track one trial of a grid as a child of the run of the whole grid.

    The parent is the run active in this process or, on a worker, the one that `parent_elsewhere`
    names. The child is active inside, so that `StepMetrics` logs to it, and ends as FINISHED;
    as FAILED on an error, which passes through; as KILLED when somebody interrupts it. A worker
    marks as KILLED what an earlier attempt at the trial under the same parent has left RUNNING, as
    its worker was killed.

    Args:
        name: of the trial, such as `cmnist_1pct.disent`.
        tags: what runs are filtered by.

    Yields:
        The child; one that tracks nothing if there is no parent.
    """
    parent = _elsewhere.get()
    if parent is not None:
        with _worker_sender(parent) as sender:
            run = _started(sender, name=name, tags=tags, parent=parent, replaces=True)
            with _active(run):
                yield run
    elif _process.sender is not None and _process.run.key is not None:
        run = _started(_process.sender, name=name, tags=tags, parent=_process.run)
        with _active(run):
            yield run
    else:
        yield _NO_RUN


@contextmanager
def _active(run: TrackedRun) -> Iterator[None]:
    token = _trial.set(run)
    status = FAILED
    try:
        yield
        status = FINISHED
    except (KeyboardInterrupt, SystemExit):
        status = KILLED
        raise
    finally:
        _trial.reset(token)
        run.end(status)
        if status != KILLED:
            run.wait()


def end_running_children(parent: ParentRun) -> None:
    """Mark as KILLED what is still RUNNING under the run of this process.

    Args:
        parent: that run.
    """
    if _process.run.key == parent.key:
        _process.run.close_children()


@contextmanager
def _worker_sender(parent: ParentRun) -> Iterator[Sender]:
    sender = Sender(parent.destination, Path(parent.root), main=False)
    try:
        yield sender
    finally:
        sender.close()


def _started(
    sender: Sender,
    *,
    name: str,
    tags: Mapping[str, Any] | None = None,
    parent: ParentRun | TrackedRun | None = None,
    run_id: str | None = None,
    continues_parent: bool = False,
    replaces: bool = False,
) -> TrackedRun:
    """Create the records of a run; a run that tracks nothing if they cannot be written."""
    try:
        records = RunRecords.create(
            sender.root,
            {
                "name": name,
                "tags": {key: str(value) for key, value in (tags or {}).items()},
                "parent": parent.key if parent is not None else None,
                "parent_run_id": parent.run_id if parent is not None else None,
                "experiment_id": parent.experiment_id if parent is not None else None,
                "run_id": run_id,
                "continues_parent": continues_parent,
                "replaces": replaces,
            },
        )
    except OSError as error:
        logger.warning("MLflow gets nothing of this run: %s", one_line(error))
        return _NO_RUN
    sender.add(records)
    return TrackedRun(records, sender)


def _valid(name: str) -> str:
    """A name that MLflow takes."""
    return _NOT_IN_NAMES.sub("_", name)
