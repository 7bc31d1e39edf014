"""Journals of MLflow runs: what a run logs is kept on disk until MLflow has received it."""

import getpass
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

from filelock import FileLock, Timeout

from debias_pipeline.files import replacing

# In the project's folder; contains a folder per journal.
PENDING_FOLDER: Final = "mlflow_pending"

# Kinds of records. CLOSE_CHILDREN marks the running children of a run as KILLED.
START, LOG, DATASET, END = "start", "log", "dataset", "end"
CLOSE_CHILDREN: Final = "close_children"

# MLflow's statuses of a run that has ended.
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"


class NotSendableError(Exception):
    """A run cannot be sent to this store, or not yet: its parent does not exist there."""


@dataclass(frozen=True)
class SendState:
    """How much of a run MLflow has received.

    Attributes:
        uri: URI of the MLflow store that has the run; None before the run exists there.
        run_id: MLflow's id of the run.
        experiment_id: MLflow's id of the run's experiment.
        attempted: whether a request to create the run was made, perhaps without an answer.
        sent: size in bytes of the records that were sent.
    """

    uri: str | None = None
    run_id: str | None = None
    experiment_id: str | None = None
    attempted: bool = False
    sent: int = 0


class Journal:
    """The journal of one run, in a folder of its own.

    `records.jsonl` is only appended to, `state.json` contains the `SendState`, and files below
    `artifacts/` and the MLflow model `model/` wait to be uploaded. The process that writes or sends
    a journal holds its lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, SendState()
        self._file = folder / "records.jsonl"
        self._lock = FileLock(folder / "lock", timeout=0, thread_local=False)
        self._ended = False

    @classmethod
    def create(cls, root: Path, **start: Any) -> "Journal":
        """Create and lock the journal of a new run.

        Args:
            root: folder of all journals.
            start: fields of the first record.

        Raises:
            OSError: if the folder cannot be written.
        """
        # Sorted by name, parents come before their children.
        journal = cls(root / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{uuid4().hex[:8]}")
        journal.folder.mkdir(parents=True)
        journal._lock.acquire()
        journal.append(START, host=socket.gethostname(), context=_context(), **start)
        return journal

    @property
    def key(self) -> str:
        """Return the name that identifies the run before MLflow has given it an id."""
        return self.folder.name

    def update_state(self, **changes: Any) -> None:
        """Replace fields of the state, on disk first."""
        state = replace(self.state, **changes)
        with replacing(_state_file(self.folder)) as temporary:
            temporary.write_text(json.dumps(asdict(state)), "utf-8")
        self.state = state

    def append(self, kind: str, **fields: Any) -> None:
        """Append a record, in one write.

        Raises:
            OSError: if it could not be written completely.
        """
        record = {"kind": kind, "time": int(time.time() * 1000), **fields}
        line = f"{json.dumps(record, default=str)}\n".encode()
        with self._file.open("ab", buffering=0) as file:
            if file.write(line) != len(line):
                raise OSError(f"{self._file}: no space left")
        self._ended |= kind == END

    def keep_artifact(self, name: str, write: Callable[[Path], object]) -> None:
        """Keep a file that is to be uploaded.

        Args:
            name: path of the file in the run's artifacts.
            write: writes the file to a path.
        """
        with replacing(self.folder / "artifacts" / name) as temporary:
            write(temporary)

    @property
    def model(self) -> Path:
        """Return the folder of an MLflow model that is to be uploaded; it may not exist."""
        return self.folder / "model"

    def keep_model(self, write: Callable[[Path], None]) -> None:
        """Keep an MLflow model, unless there is one already.

        Args:
            write: writes the model to a new folder.
        """
        if self.model.exists():
            return
        with TemporaryDirectory(dir=self.folder, suffix=".tmp") as folder:
            write(Path(folder) / "model")
            (Path(folder) / "model").rename(self.model)

    def artifacts(self) -> Iterator[tuple[Path, str | None]]:
        """Yield the files to upload, each with its folder in MLflow; None is the top folder."""
        root = self.folder / "artifacts"
        for path in sorted(root.rglob("*")):
            # `replacing` has temporary files there.
            if path.is_file() and path.suffix != ".tmp":
                folder = path.parent.relative_to(root).as_posix()
                yield path, None if folder == "." else folder

    def read(self, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield the records after a position, each with the position of its end.

        Incomplete lines are skipped.
        """
        with self._file.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                start += len(line)
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                yield record, start

    def take_over(self) -> bool:
        """Lock the journal of a process that no longer runs, and end its run as KILLED.

        Returns:
            False if another process has locked it, or it is unreadable.
        """
        try:
            self._lock.acquire()
            kinds = [record["kind"] for record, _ in self.read()]
        except (Timeout, OSError):
            kinds = []
        if START not in kinds:
            self.release()
            return False
        self.state = read_state(self.folder)
        if END not in kinds:
            last = int(self._file.stat().st_mtime * 1000)
            with self._file.open("ab") as file:
                file.write(b"\n")  # the last line may be incomplete
            self.append(END, status=KILLED, time=last)
        self._ended = True
        return True

    def is_sent(self) -> bool:
        """Return whether the run has ended, all of it was sent, and no child waits for its id."""
        if not self._ended or self.state.sent < self._file.stat().st_size:
            return False
        if self.model.exists() or any(self.artifacts()):
            return False
        others = self.folder.parent.glob("*/")
        return not any(_first_record(folder).get("parent") == self.key for folder in others)

    def release(self) -> None:
        """Unlock the journal, so that another process can send the rest."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the folder of the journal and release its lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()


def abandoned(root: Path, *, any_host: bool, own: Container[str] = ()) -> Iterator[Journal]:
    """Take over the journals of processes that no longer run; yield them, the earliest first.

    Args:
        root: folder of all journals.
        any_host: whether to include those that another machine wrote; not every network disk shows
            locks of other machines.
        own: keys of journals to skip, which this process holds itself.
    """
    for folder in sorted(root.glob("*/")):
        host = _first_record(folder).get("host")
        journal = Journal(folder)
        is_reachable = host and (any_host or host == socket.gethostname())
        if is_reachable and journal.key not in own and journal.take_over():
            yield journal


def read_state(folder: Path) -> SendState:
    """Return how much of a journal was sent."""
    try:
        return SendState(**json.loads(_state_file(folder).read_text("utf-8")))
    except FileNotFoundError:
        return SendState()


def _context() -> dict[str, str]:
    """Return the tags by which MLflow shows who started which program, and MLFLOW_RUN_CONTEXT.

    MLflow's own function imports IPython, which Python may refuse in the sending thread while the
    main thread imports it too.
    """
    program = next(iter(sys.argv), "") or "<console>"
    tags = {"mlflow.source.name": program, "mlflow.source.type": "LOCAL"}
    # A container may run as a user without a name; ImportError is raised on Windows.
    with suppress(ImportError, KeyError, OSError):
        tags["mlflow.user"] = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    with suppress(AttributeError, ValueError):
        given = json.loads(os.environ.get("MLFLOW_RUN_CONTEXT", "{}"))
        tags |= {name: str(value) for name, value in given.items()}
    return tags


def _state_file(folder: Path) -> Path:
    return folder / "state.json"


def _first_record(folder: Path) -> dict[str, Any]:
    """Return the record that starts a run; empty if there is none."""
    try:
        return next((record for record, _ in Journal(folder).read()), {})
    except OSError:
        return {}
