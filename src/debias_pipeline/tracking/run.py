"""One run: its values are written to a journal and sent to MLflow."""

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

from debias_pipeline.errors import one_line
from debias_pipeline.nested import flattened
from debias_pipeline.tracking.journal import CLOSE_CHILDREN, END, LOG, Journal, SendState
from debias_pipeline.tracking.sender import Sender
from debias_pipeline.tracking.store import Destination

logger = logging.getLogger(__name__)

# Seconds that a process waits for the id of a new run.
_ID_TIMEOUT = 30

_INVALID_IN_NAMES = re.compile(r"[^/\w.\- :]")


@dataclass(frozen=True)
class ParentRun:
    """The run of a whole `kedro run`, for other processes.

    Attributes:
        destination: MLflow store and experiment of the run.
        root: folder of all journals.
        key: see `TrackedRun.key`.
        run_id: id of the run in MLflow; None if MLflow did not answer.
        experiment_id: id of its experiment in MLflow; None if MLflow did not answer.
    """

    destination: Destination
    root: str
    key: str
    run_id: str | None
    experiment_id: str | None


class TrackedRun:
    """A run whose values are written to a journal and sent to MLflow; no method raises.

    A run without a journal tracks nothing.
    """

    def __init__(self, journal: Journal | None = None, sender: Sender | None = None) -> None:
        self._journal, self._sender = journal, sender
        self._params: set[str] = set()

    @classmethod
    def create(
        cls,
        sender: Sender,
        name: str,
        tags: Mapping[str, Any] | None,
        parent: "ParentRun | TrackedRun",
        *,
        run_id: str | None = None,
        continues_parent: bool = False,
        replaces: bool = False,
    ) -> "TrackedRun":
        """Create the journal of a run; if it cannot be written, the run tracks nothing.

        Args:
            parent: the parent run; NO_RUN for a run without a parent.
            run_id: id of an existing MLflow run to continue, or None.
            continues_parent: whether values go to the parent itself.
            replaces: whether running children of the parent that have the same name are KILLED.
        """
        try:
            journal = Journal.create(
                sender.root,
                name=name,
                tags={k: str(value)[:MAX_TAG_VAL_LENGTH] for k, value in (tags or {}).items()},
                parent=parent.key,
                parent_run_id=parent.run_id,
                experiment_id=parent.experiment_id,
                run_id=run_id,
                continues_parent=continues_parent,
                replaces=replaces,
            )
        except OSError as error:
            logger.warning("MLflow gets nothing of this run: %s", one_line(error))
            return NO_RUN
        sender.add(journal)
        return cls(journal, sender)

    @property
    def key(self) -> str | None:
        """Return the name that identifies the run before MLflow has given it an id."""
        return self._journal.key if self._journal is not None else None

    @property
    def run_id(self) -> str | None:
        """Return MLflow's id of the run; None before MLflow has created it."""
        return self._state.run_id

    @property
    def experiment_id(self) -> str | None:
        """Return MLflow's id of the experiment; None before MLflow has created the run."""
        return self._state.experiment_id

    @property
    def _state(self) -> SendState:
        return self._journal.state if self._journal is not None else SendState()

    def log(
        self,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        step: int = 0,
    ) -> None:
        """Log parameters and metrics.

        Args:
            params: values in a nested mapping are named `outer.inner`; those that were logged
                before are skipped.
            metrics: named in the same way; those that are not a finite number are skipped.
            step: step at which MLflow shows the metrics.
        """
        new = {k: v for k, v in flattened(params or {}).items() if k not in self._params}
        self._params |= new.keys()
        self._append(
            LOG,
            params={_valid(name): str(value)[:MAX_PARAM_VAL_LENGTH] for name, value in new.items()},
            metrics={
                _valid(name): float(value)
                for name, value in flattened(metrics or {}).items()
                if isinstance(value, int | float) and math.isfinite(value)
            },
            step=step,
        )

    def log_artifact(self, path: Path, artifact_path: str) -> None:
        """Log a copy of a file, in a folder of the run's artifacts."""
        self._write(lambda journal: journal.keep_artifact(path, artifact_path))

    def close_children(self) -> None:
        """Mark the children that are RUNNING as KILLED."""
        self._append(CLOSE_CHILDREN)

    def end(self, status: str | None) -> None:
        """End the run; None leaves its status to the process that started it."""
        self._append(END, status=status)

    def wait(self) -> None:
        """Wait until everything is sent, or MLflow has failed."""
        if self._sender is not None:
            self._sender.wait(_ID_TIMEOUT)

    def _append(self, kind: str, **fields: Any) -> None:
        self._write(lambda journal: journal.append(kind, **fields))

    def _write(self, write: Callable[[Journal], None]) -> None:
        if self._journal is None or self._sender is None:
            return
        try:
            write(self._journal)
        except OSError as error:
            logger.warning("MLflow gets no further values of this run: %s", one_line(error))
            self._journal = None
        else:
            self._sender.notify()


NO_RUN: Final = TrackedRun()


def _valid(name: str) -> str:
    """Replace the characters of a name that MLflow does not accept."""
    return _INVALID_IN_NAMES.sub("_", name)
