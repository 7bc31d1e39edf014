"""Where training computes."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from debias_pipeline.errors import UserError

# Of OpenMP 5's omp_pause_resource_t.
OMP_PAUSE_SOFT = 1


def choose_device(name: str) -> torch.device:
    """The device of a `device` parameter: auto, cpu, cuda or mps.

    Raises:
        UserError: if the device asked for is not there.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(each for each, there in present.items() if there))
    if not present[name]:
        raise UserError(
            f"device={name} is not available on this machine: use device=auto or device=cpu"
        )
    return torch.device(name)


def prepare(device: torch.device) -> None:
    """Settings of the whole process that make small steps on the CPU fast.

    Denormal numbers count as zero: losses that have all but vanished would otherwise slow every
    operation that they take part in. Freed memory is kept for the next step: handing the
    tensors of every step back to the system and faulting their pages in again took a quarter of
    the time of a step (docs/performance.md).
    """
    if device.type != "cpu":
        return
    _flush_denormals(True)
    if sys.platform == "linux":
        _keep_freed_memory()


@contextmanager
def prepared(device: torch.device) -> Iterator[None]:
    """`prepare`; afterwards denormal numbers count again, as others may need them."""
    prepare(device)
    try:
        yield
    finally:
        if device.type == "cpu":
            _flush_denormals(False)


def _flush_denormals(flush: bool) -> None:
    """Let denormal numbers count as zero, or again as what they are, on all threads.

    PyTorch sets this for the calling thread, and threads that OpenMP starts later take it over.
    Those that it has are let go: else only one thread's share of each operation would have it.
    """
    torch.set_flush_denormal(flush)
    pause = None if sys.platform == "win32" else _c_function("omp_pause_resource_all")
    if pause is not None:
        pause(OMP_PAUSE_SOFT)


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed; only glibc has the call."""
    trim_threshold, mmap_threshold, never = -1, -3, 2**31 - 1
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(trim_threshold, never)
        mallopt(mmap_threshold, never)


def _c_function(name: str) -> Callable[..., int] | None:
    """A function of the C libraries that this process has loaded, if one of them has it."""
    return getattr(ctypes.CDLL(None), name, None)
