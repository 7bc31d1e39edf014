"""Records of MLflow runs on disk, kept until MLflow has received them."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from filelock import FileLock, Timeout

# In the project's folder.
PENDING_FOLDER: Final = "mlflow_pending"

# Kinds of records.
START, LOG, END = "start", "log", "end"
# Mark another run, or the running children of one, as KILLED.
CLOSE, CLOSE_CHILDREN = "close", "close_children"


@dataclass(frozen=True)
class SendState:
    """How much of a run MLflow has received.

    Attributes:
        uri: of the MLflow store that has the run; None before the run exists there.
        run_id: MLflow's id of the run.
        experiment_id: the experiment it belongs to.
        attempted: whether it was tried to create the run.
        sent: size in bytes of the records that were sent.
    """

    uri: str | None = None
    run_id: str | None = None
    experiment_id: str | None = None
    attempted: bool = False
    sent: int = 0


class RunRecords:
    """The records of one run, in a folder of its own.

    `records.jsonl` is only appended to, `state.json` says how much of it was sent, and files below
    `artifacts/` wait to be uploaded. The process that writes or sends them holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / "lock", timeout=0, thread_local=False)
        self._file = folder / "records.jsonl"
        self._state_file = folder / "state.json"
        self._state: SendState | None = None
        self._ended = False

    @classmethod
    def create(cls, root: Path, start: Mapping[str, Any]) -> "RunRecords":
        """Start the records of a run.

        Args:
            root: folder of all pending runs.
            start: fields of the first record.

        Raises:
            OSError: if the folder cannot be written.
        """
        # Sorted by name, parents come before their children.
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{uuid4().hex[:8]}"
        folder = root / name
        folder.mkdir(parents=True)
        records = cls(folder)
        records._lock.acquire()
        records.append(START, host=socket.gethostname(), **start)
        return records

    @property
    def key(self) -> str:
        """The name of the run on this machine."""
        return self.folder.name

    @property
    def state(self) -> SendState:
        """How much was sent."""
        if self._state is not None:
            return self._state
        try:
            return SendState(**json.loads(self._state_file.read_text("utf-8")))
        except FileNotFoundError:
            return SendState()

    def update_state(self, **changes: Any) -> None:
        """Replace fields of the state."""
        state = replace(self.state, **changes)
        temporary = self._state_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(state)), "utf-8")
        temporary.replace(self._state_file)
        self._state = state

    def append(self, kind: str, **fields: Any) -> None:
        """Add a record, in one write.

        Raises:
            OSError: if it could not be written as a whole.
        """
        record = {"kind": kind, "time": int(time.time() * 1000), **fields}
        line = f"{json.dumps(record, default=str)}\n".encode()
        file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(file, line)
        finally:
            os.close(file)
        if written < len(line):
            raise OSError(f"{self._file}: no space left")
        self._ended |= kind == END

    def keep_artifact(self, path: Path, artifact_path: str) -> None:
        """Copy a file that is to be uploaded."""
        temporary = self.folder / f"{uuid4().hex}.tmp"
        shutil.copyfile(path, temporary)
        target = self.folder / "artifacts" / artifact_path / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)

    def artifacts(self) -> Iterator[tuple[Path, str]]:
        """Files to upload, with their folder in MLflow."""
        root = self.folder / "artifacts"
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield path, path.parent.relative_to(root).as_posix()

    def read(self, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
        """Records from a position on, each with the position after it; torn lines are skipped."""
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
        """Lock the records of a process that no longer runs, and end its run as KILLED.

        Returns:
            False if a process still works at them, or they are unreadable.
        """
        try:
            self._lock.acquire()
            kinds = [record["kind"] for record, _ in self.read()]
        except (Timeout, OSError):
            self.release()
            return False
        if START not in kinds:
            self.release()
            return False
        if END not in kinds:
            last = int(self._file.stat().st_mtime * 1000)
            with self._file.open("ab") as file:
                file.write(b"\n")  # the last record may be torn
            self.append(END, status="KILLED", time=last)
        self._ended = True
        return True

    def is_sent(self) -> bool:
        """Whether the run has ended and MLflow has all of it, and no run waits for its id."""
        if not self._ended or self.state.sent < self._file.stat().st_size:
            return False
        return not any(self.artifacts()) and not any(
            _first_record(folder).get("parent") == self.key
            for folder in self.folder.parent.glob("*/")
        )

    def release(self) -> None:
        """Let other processes send the rest."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()


def abandoned(root: Path, *, any_host: bool) -> Iterator[RunRecords]:
    """Take over the records of processes that no longer run, the earliest first.

    Args:
        root: folder of all pending runs.
        any_host: also those that another machine wrote; not every network disk shows locks of
            other machines.
    """
    for folder in sorted(root.glob("*/")):
        host = _first_record(folder).get("host")
        records = RunRecords(folder)
        if host and (any_host or host == socket.gethostname()) and records.take_over():
            yield records


def _first_record(folder: Path) -> dict[str, Any]:
    """The record that starts a run; empty if there is none."""
    try:
        return next((record for record, _ in RunRecords(folder).read()), {})
    except OSError:
        return {}
