"""Stop on SIGINT and SIGTERM: at once, or during training after the current step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Raised when SIGINT or SIGTERM arrives.

    It is a subclass of KeyboardInterrupt, so that `except Exception` does not catch it.

    Attributes:
        signal_number: SIGINT or SIGTERM.
        in_training: whether a training was stopped, whose message says how to go on.
    """

    def __init__(self, signal_number: int, message: str = "") -> None:
        name = signal.Signals(signal_number).name
        super().__init__(message or f"Stopped by {name}.")
        self.signal_number, self.in_training = signal_number, bool(message)

    @property
    def exit_code(self) -> int:
        """Return the exit code that shells use for a process ended by the signal."""
        return 128 + self.signal_number


_condition: ContextVar[Callable[[], bool] | None] = ContextVar("condition", default=None)


@contextmanager
def stopping_when(condition: Callable[[], bool]) -> Iterator[None]:
    """Within the block, stop training as SIGTERM would, as soon as a condition is true.

    It is for training in a thread, which receives no signals.

    Args:
        condition: is called after each training step.
    """
    token = _condition.set(condition)
    try:
        yield
    finally:
        _condition.reset(token)


class StopRequest:
    """A request to stop training, and the signal that made it."""

    def __init__(self) -> None:
        """Start without a request."""
        self._number: int | None = None
        self._condition = _condition.get()

    @property
    def signal_number(self) -> int | None:
        """Return the number of the signal, or None if training is to go on.

        It is SIGTERM if the condition of `stopping_when` is true.
        """
        if self._number is None and self._condition is not None and self._condition():
            self._number = signal.SIGTERM
        return self._number

    def stop(self, number: int) -> None:
        """Record a signal.

        Raises:
            Stopped: if one was recorded before.
        """
        if self._number is not None:
            raise Stopped(number)
        self._number = number


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

    Python handles signals in the main thread only; for others there is `stopping_when`.
    """
    request = StopRequest()

    def set_request(number: int, frame: FrameType | None) -> None:
        del frame
        request.stop(number)

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
