"""Stop on SIGINT and SIGTERM: at once, or during training after the current step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Raised when SIGINT or SIGTERM arrives.

    It is a subclass of KeyboardInterrupt, so that `except Exception` does not catch it.

    Attributes:
        signal_number: SIGINT or SIGTERM.
    """

    def __init__(self, signal_number: int, message: str = "") -> None:
        name = signal.Signals(signal_number).name
        super().__init__(message or f"Stopped by {name}. The same command continues.")
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """Return the exit code that shells use for a process ended by the signal."""
        return 128 + self.signal_number


class StopRequest:
    """A record of the first signal that arrived.

    Attributes:
        signal_number: the first signal that arrived, or None.
    """

    signal_number: int | None = None


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Raise `Stopped` in the main thread when SIGINT or SIGTERM arrives."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise Stopped(number)

    with _handled_by(stop):
        yield


@contextmanager
def stopping_on_request() -> Iterator[StopRequest]:
    """Yield a request that SIGINT or SIGTERM sets; a second signal raises `Stopped` at once.

    Python handles signals in the main thread only, so in other threads the request is never set.
    """
    request = StopRequest()

    def set_request(number: int, frame: FrameType | None) -> None:
        del frame
        if request.signal_number is not None:
            raise Stopped(number)
        request.signal_number = number

    with _handled_by(set_request):
        yield request


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, handler) for number in SIGNALS]
    try:
        yield
    finally:
        for number, previous in zip(SIGNALS, before, strict=True):
            signal.signal(number, previous)
