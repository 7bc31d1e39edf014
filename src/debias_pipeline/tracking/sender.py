"""Send journals to MLflow from a thread, so that nothing waits for a server."""

import logging
import os
import threading
import time
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from debias_pipeline.errors import one_line
from debias_pipeline.tracking.journal import Journal, NotSendableError, abandoned
from debias_pipeline.tracking.settings import Destination

if TYPE_CHECKING:
    from debias_pipeline.tracking.store import Store

logger = logging.getLogger(__name__)

SYNC_COMMAND: Final = "kedro mlflow-sync"

# The longest time in seconds before the thread imports MLflow, see `Sender.start`.
HEAD_START = 10
# Seconds before MLflow is tried again after a failure.
_RETRY_AFTER = 60
# Seconds without progress after which the end of a run no longer waits. Creating a database takes
# MLflow more than ten seconds on a busy machine; requests to a server fail sooner by themselves.
_PATIENCE = 30
_LONGEST_REASON = 200


class Sender:
    """Sends the journals of this process; what MLflow does not receive stays on disk."""

    def __init__(self, destination: Destination, root: Path, *, main: bool) -> None:
        """Start the thread.

        Args:
            root: folder of all journals.
            main: whether this is the process that the user started. It warns, and also sends the
                journals of processes that no longer run.
        """
        self.destination, self.root = destination, root
        self._main = self._looks_for_abandoned = main
        self._warned = False
        self._journals: list[Journal] = []
        self._changed = threading.Condition()
        self._dirty = self._working = self._closing = self._failed = self._started = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="mlflow")
        self._thread.start()

    def start(self) -> None:
        """Let the thread import MLflow and send; it does so by itself after 10 seconds.

        Until then it waits, as the import takes as long as that of PyTorch, and Python runs one
        thread at a time: training would start later.
        """
        with self._changed:
            self._started = True
            self._changed.notify_all()

    def add(self, journal: Journal) -> None:
        """Add a journal to those that the thread sends; return at once."""
        with self._changed:
            self._journals.append(journal)
        self.notify()

    def notify(self) -> None:
        """Wake the thread up to send new records; return at once."""
        with self._changed:
            self._dirty = True
            self._changed.notify_all()

    def wait(self, timeout: float) -> None:
        """Wait until everything is sent, MLflow has failed, or `timeout` seconds have passed."""
        self.start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._failed or not (self._dirty or self._working), timeout
            )

    def close(self) -> None:
        """Try once more to send the rest, and end the thread."""
        warned = self._warned
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        # The import takes seconds without any progress. If it fails, the thread reports it.
        with suppress(Exception):
            import debias_pipeline.tracking.store  # noqa: F401
        while self._thread.is_alive():
            before = self._progress()
            self._thread.join(_PATIENCE)
            if self._progress() == before:
                break
        left = list(self._journals)
        for journal in left:
            journal.release()
        if warned and self._main:
            if left:
                logger.info("MLflow still fails; send this run later with %s", SYNC_COMMAND)
            else:
                logger.info("MLflow works again; all of this run was sent")
        elif left and self._main and not self._warned:
            logger.warning(
                "MLflow at %s has not finished; the rest of this run is kept in %s and sent by the "
                "next run, or with %s",
                self.destination.uri,
                self.root,
                SYNC_COMMAND,
            )

    def _progress(self) -> dict[str, tuple[int, int]]:
        """Return what was sent of each journal, and the number of files left."""
        return {
            journal.key: (
                journal.state.sent,
                sum(len(files) for _, _, files in os.walk(journal.folder)),
            )
            for journal in list(self._journals)
        }

    def _work(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._started or self._closing, HEAD_START)
        ending, retry_at = False, 0.0
        while not ending:
            with self._changed:
                self._changed.wait_for(lambda: self._dirty or self._closing)
                ending, self._dirty = self._closing, False
                if not ending and time.monotonic() < retry_at:
                    continue
                self._working = True
            error = self._try_to_send(ending)
            with self._changed:
                self._working, self._failed = False, error is not None
                # An attempt that failed while the run ended is not repeated.
                ending = ending or (self._failed and self._closing)
                self._changed.notify_all()
            if error is not None:
                retry_at = time.monotonic() + _RETRY_AFTER
                self._warn_once(error)

    def _try_to_send(self, ending: bool) -> Exception | None:
        with self._changed:
            journals = list(self._journals)
        try:
            store = self._store
            for journal in journals:
                with suppress(NotSendableError):
                    for rejection in store.send(journal):
                        logger.warning("MLflow rejected a value, which is skipped: %s", rejection)
            if self._looks_for_abandoned or (ending and self._main):
                # `close` may have released the own ones meanwhile.
                send_abandoned(store, self.root, own={journal.key for journal in journals})
                self._looks_for_abandoned = False
            for journal in reversed(journals):
                if journal.is_sent():
                    with self._changed:
                        self._journals.remove(journal)
                    journal.remove()
        except Exception as error:
            return error
        return None

    @cached_property
    def _store(self) -> "Store":
        from debias_pipeline.tracking.store import Store

        return Store(self.destination)

    def _warn_once(self, error: Exception) -> None:
        if not self._warned:
            logger.log(
                # The process that the user started warns for its workers.
                logging.WARNING if self._main else logging.INFO,
                "MLflow at %s (set by %s) cannot be used: %s. The run continues; what MLflow did "
                "not receive is kept in %s and sent when the run ends, or later with %s",
                self.destination.uri,
                self.destination.source,
                reason(error),
                self.root,
                SYNC_COMMAND,
            )
        self._warned = True


@dataclass(frozen=True)
class Sent:
    """What happened to the journals of processes that no longer run.

    Attributes:
        runs: number of runs that MLflow has received completely.
        left: why others were not sent, one line each.
        rejected: what MLflow rejected, one line each.
    """

    runs: int
    left: list[str]
    rejected: list[str]


def send_abandoned(
    store: "Store", root: Path, *, any_host: bool = False, own: Container[str] = ()
) -> Sent:
    """Send the journals of processes that no longer run.

    Args:
        root: folder of all journals.
        any_host, own: see `abandoned`.

    Raises:
        Exception: if MLflow cannot be reached.
    """
    taken: list[Journal] = []
    left: list[str] = []
    rejected: list[str] = []
    runs = 0
    try:
        for journal in abandoned(root, any_host=any_host, own=own):
            taken.append(journal)
            try:
                rejected.extend(store.send(journal))
            except NotSendableError as error:
                left.append(str(error))
        # A parent's id is needed until its children are sent.
        for journal in reversed(taken):
            if journal.is_sent():
                journal.remove()
                runs += 1
    finally:
        for journal in taken:
            journal.release()
    return Sent(runs, left, rejected)


def reason(error: BaseException) -> str:
    """Return the innermost cause in one line; the outer errors repeat it at length."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    text = one_line(error)
    return f"{text[:_LONGEST_REASON]}…" if len(text) > _LONGEST_REASON else text
