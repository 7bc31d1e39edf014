"""Sends records to MLflow from a thread, so that nothing waits for a server."""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from debias_pipeline.errors import one_line
from debias_pipeline.tracking.records import RunRecords, abandoned
from debias_pipeline.tracking.store import Destination, ParentNotSentError, Store

logger = logging.getLogger(__name__)

SYNC_COMMAND: Final = "kedro mlflow-sync"

# Seconds before MLflow is tried again after a failure.
_RETRY_AFTER = 60
# Seconds without progress after which the end of a run no longer waits.
_PATIENCE = 10
_LONGEST_REASON = 200


class Sender:
    """Sends the runs of this process; what MLflow does not take stays on disk."""

    def __init__(self, destination: Destination, root: Path, *, main: bool) -> None:
        """Start the thread.

        Args:
            destination: of the runs.
            root: folder of all pending runs.
            main: whether this is the process that the user started. It warns, and sends what
                processes that no longer run have left.
        """
        self.destination, self.root = destination, root
        self._store = Store(destination)
        self._main = self._looks_for_abandoned = main
        self._runs: list[RunRecords] = []
        self._changed = threading.Condition()
        self._dirty = self._working = self._closing = self._warned = False
        self._failed_at: float | None = None
        self._sent = 0
        self._thread = threading.Thread(target=self._work, daemon=True, name="mlflow")
        self._thread.start()

    def add(self, records: RunRecords) -> None:
        """Send a further run."""
        with self._changed:
            self._runs.append(records)
        self.notify()

    def notify(self) -> None:
        """Send new records."""
        with self._changed:
            self._dirty = True
            self._changed.notify_all()

    def wait(self, timeout: float) -> None:
        """Wait until everything is sent, or MLflow has failed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failed_at is not None or not (self._dirty or self._working), timeout
            )

    def close(self) -> None:
        """Try once more to send what is left, and end the thread."""
        warned = self._warned
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        while self._thread.is_alive():
            before = self._sent
            self._thread.join(_PATIENCE)
            if self._sent == before:
                break
        left = list(self._runs)
        for records in left:
            records.release()
        if warned and self._main:
            if left:
                logger.info("MLflow still fails: send this run later with %s", SYNC_COMMAND)
            else:
                logger.info("MLflow works again: all of this run was sent")

    def _warn_of(self, error: Exception) -> None:
        """Warn once; a worker leaves that to the process that the user started."""
        if not self._warned:
            logger.log(
                logging.WARNING if self._main else logging.INFO,
                "MLflow at %s (set by %s) cannot be used: %s. The run goes on; what MLflow lacks "
                "is kept in %s and sent when the run ends, or later with %s",
                self.destination.uri,
                self.destination.source,
                reason(error),
                self.root,
                SYNC_COMMAND,
            )
        self._warned = True

    def _work(self) -> None:
        ending = False
        while not ending:
            with self._changed:
                self._changed.wait_for(lambda: self._dirty or self._closing)
                ending, self._dirty = self._closing, False
                if not ending and self._failed_just_now():
                    continue
                self._working = True
            error = self._try_to_send(ending)
            with self._changed:
                self._working = False
                self._failed_at = time.monotonic() if error else None
                # An attempt that failed while the run ended is not repeated.
                ending = ending or (error is not None and self._closing)
                self._changed.notify_all()
            if error is not None:
                self._warn_of(error)

    def _failed_just_now(self) -> bool:
        return self._failed_at is not None and time.monotonic() < self._failed_at + _RETRY_AFTER

    def _try_to_send(self, ending: bool) -> Exception | None:
        with self._changed:
            runs = list(self._runs)
        try:
            for records in runs:
                self._send(records)
            if self._looks_for_abandoned or (ending and self._main):
                send_abandoned(self._store, self.root)
                self._looks_for_abandoned = False
            for records in reversed(runs):
                if records.is_sent():
                    with self._changed:
                        self._runs.remove(records)
                    records.remove()
        except Exception as error:
            return error
        return None

    def _send(self, records: RunRecords) -> None:
        try:
            for refused in self._store.send(records):
                logger.warning("MLflow refused a value, which is skipped: %s", refused)
        except ParentNotSentError:
            return
        self._sent += 1


@dataclass(frozen=True)
class Sent:
    """What became of the records of processes that no longer run.

    Attributes:
        runs: how many runs MLflow has received.
        left: why others were not sent, one line each.
        refused: what MLflow refused, one line each.
    """

    runs: int
    left: list[str]
    refused: list[str]


def send_abandoned(store: Store, root: Path, *, any_host: bool = False) -> Sent:
    """Send the records of processes that no longer run.

    Args:
        store: to send to.
        root: folder of all pending runs.
        any_host: see `abandoned`.

    Raises:
        Exception: if MLflow cannot be reached.
    """
    taken: list[RunRecords] = []
    left: list[str] = []
    refused: list[str] = []
    try:
        for records in abandoned(root, any_host=any_host):
            taken.append(records)
            try:
                refused.extend(store.send(records))
            except ParentNotSentError as error:
                left.append(str(error))
        # A parent's id is needed until its children are sent.
        runs = 0
        for records in reversed(taken):
            if records.is_sent():
                records.remove()
                runs += 1
    finally:
        for records in taken:
            records.release()
    return Sent(runs, left, refused)


def reason(error: BaseException) -> str:
    """The innermost cause in one line; the outer ones repeat it at length."""
    while True:
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    text = one_line(error)
    return f"{text[:_LONGEST_REASON]}…" if len(text) > _LONGEST_REASON else text
