"""One run: its values are written to a journal and sent to MLflow."""

import logging
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from debias_pipeline.errors import one_line
from debias_pipeline.names import COMMIT_TAG
from debias_pipeline.nested import flattened
from debias_pipeline.selection_rules import SELECTION_RULES
from debias_pipeline.tracking.description import NOTE, describe_data
from debias_pipeline.tracking.journal import CLOSE_CHILDREN, DATASET, END, LOG, Journal, SendState
from debias_pipeline.tracking.sender import Sender
from debias_pipeline.tracking.settings import Destination
from debias_pipeline.tracking.system import SystemMetrics

logger = logging.getLogger(__name__)

# Seconds that a process waits for the id of a new run.
_ID_TIMEOUT = 30

# Prefix of metrics that no method could know without the labels of the test split.
LEAKING: Final = "uses_test_labels"

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
        methods: its child runs, by method.
    """

    destination: Destination
    root: str
    key: str
    run_id: str | None
    experiment_id: str | None
    methods: Mapping[str, "ParentRun"] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """The data of a run.

    Attributes:
        name: name that MLflow shows, such as `cmnist 2pct`.
        digest: hash of the content; MLflow keeps its first 36 characters.
        source: origin of the data, as text.
        shape: shape of an image: H, W, 3.
        facts: further facts by name, such as the number of images per split.
    """

    name: str
    digest: str
    source: str
    shape: tuple[int, ...]
    facts: Mapping[str, Any]


class TrackedRun:
    """A run whose values are written to a journal and sent to MLflow; no method raises.

    A run without a journal tracks nothing. `commit` is the commit of the project, None if unknown.
    """

    def __init__(self, journal: Journal | None = None, sender: Sender | None = None) -> None:
        self._journal, self._sender = journal, sender
        self._params: set[str] = set()
        self._datasets: list[Dataset] = []
        self._has_model = False
        self._system: SystemMetrics | None = None
        self._ended = False
        self._note = ""
        self.commit: str | None = None

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
                tags=valid_tags(tags),
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
        run = cls(journal, sender)
        run._note = str((tags or {}).get(NOTE, ""))
        run.commit = (tags or {}).get(COMMIT_TAG)
        if not continues_parent:
            run._system = SystemMetrics(run.log)
        return run

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
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Log parameters, metrics and tags.

        Args:
            params: values in a nested mapping are named `outer.inner`; those that were logged
                before are skipped.
            metrics: named `outer/inner`; those that are not a finite number are skipped.
            step: step at which MLflow shows the metrics.
            tags: text to filter runs by; they replace earlier ones.
        """
        new = {k: v for k, v in flattened(params or {}).items() if k not in self._params}
        self._params |= new.keys()
        self._append(
            LOG,
            params={_valid(name): str(value) for name, value in new.items()},
            metrics={
                _valid(name): float(value)
                for name, value in flattened(metrics or {}, "/").items()
                if isinstance(value, int | float) and math.isfinite(value)
            },
            step=step,
            tags=valid_tags(tags),
        )
        if metrics and self._sender is not None:
            # What a run imports before its first metric, it has imported.
            self._sender.start()

    def log_final_metrics(self, values: Mapping[str, float]) -> None:
        """Log metrics of the test split, in a section of MLflow's charts per selection rule.

        Args:
            values: named `<selection rule>.<metric>`, or `<metric>`. Those of a rule that uses the
                test split become `uses_test_labels/<selection rule>_<metric>`, so that they come
                last and are not mistaken for a result.
        """
        metrics = {}
        for key, value in values.items():
            rule, _, name = key.rpartition(".")
            leaks = rule in SELECTION_RULES and SELECTION_RULES[rule].leaks
            metrics[f"{LEAKING}/{rule}_{name}" if leaks else key.replace(".", "/")] = value
        self.log(metrics=metrics)

    def log_dataset(self, dataset: Dataset) -> None:
        """Log data of the run, once, and add it to the description."""
        if dataset not in self._datasets:
            self._datasets.append(dataset)
            self._append(DATASET, **asdict(dataset))
            if self._note:
                parts = (describe_data(each.name, each.facts) for each in self._datasets)
                self.log(tags={NOTE: "\n\n".join([self._note, *parts])})

    def log_artifact(self, path: Path, artifact_path: str) -> None:
        """Log a copy of a file, in a folder of the run's artifacts."""
        name = f"{artifact_path}/{path.name}"
        self._write(
            lambda journal: journal.keep_artifact(name, lambda to: shutil.copyfile(path, to))
        )

    def log_text(self, text: str, name: str) -> None:
        """Log a text as a file, whose name is its path in the run's artifacts."""
        self._write(
            lambda journal: journal.keep_artifact(name, lambda to: to.write_text(text, "utf-8"))
        )

    def log_model(self, write: Callable[[Path], None]) -> None:
        """Log an MLflow model, once; if it cannot be written, the run has none.

        Args:
            write: writes the model to a new folder.
        """
        if self._journal is None or self._has_model:
            return
        self._has_model = True
        try:
            self._journal.keep_model(write)
        except Exception as error:
            logger.warning(
                "The model is not logged to MLflow: %s; log it with kedro log-model",
                one_line(error),
            )
        self._notify()

    def close_children(self) -> None:
        """Mark the children that are RUNNING as KILLED."""
        self._append(CLOSE_CHILDREN)

    def end(self, status: str | None) -> None:
        """End the run, once; None leaves its status to the process that started it."""
        if self._ended:
            return
        self._ended = True
        if self._system is not None:
            self._system.stop()
        self._append(END, status=status)

    def wait(self) -> None:
        """Wait until everything is sent or MLflow has failed, at most `_ID_TIMEOUT` seconds."""
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
            self._notify()

    def _notify(self) -> None:
        if self._sender is not None:
            self._sender.notify()


NO_RUN: Final = TrackedRun()


def valid_tags(tags: Mapping[str, Any] | None) -> dict[str, str]:
    """Return tags as texts, with names that MLflow accepts."""
    return {_valid(name): str(value) for name, value in (tags or {}).items()}


def _valid(name: str) -> str:
    """Replace the characters of a name that MLflow does not accept."""
    return _INVALID_IN_NAMES.sub("_", name)
