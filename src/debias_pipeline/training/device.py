"""Choose and prepare the device that computes."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from debias_pipeline.errors import UserError

# Of OpenMP 5's omp_pause_resource_t.
OMP_PAUSE_SOFT = 1


def choose_device(name: str) -> torch.device:
    """Return the device of a `device` parameter: auto, cpu, cuda or mps.

    Raises:
        UserError: if the device is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(each for each, is_there in available.items() if is_there))
    if not available[name]:
        raise UserError(
            f"device={name} is not available on this machine; use device=auto or device=cpu"
        )
    return torch.device(name)


def prepare(device: torch.device) -> None:
    """Change settings of the process that make small steps on the CPU faster.

    Denormal numbers count as zero: tiny losses would slow down every operation on them. Freed
    memory is kept for the next step: returning it to the system and getting it back took a quarter
    of the time of a step (docs/performance.md).
    """
    if device.type != "cpu":
        return
    _flush_denormals(True)
    if sys.platform == "linux":
        _keep_freed_memory()


@contextmanager
def prepared(device: torch.device) -> Iterator[None]:
    """Call `prepare`, and restore denormal numbers afterwards for other code."""
    prepare(device)
    try:
        yield
    finally:
        if device.type == "cpu":
            _flush_denormals(False)


def _flush_denormals(flush: bool) -> None:
    """Set on all threads whether denormal numbers count as zero.

    PyTorch sets this for the calling thread, and threads that OpenMP starts later inherit it. The
    present threads are ended, so that OpenMP starts new ones.
    """
    torch.set_flush_denormal(flush)
    pause = None if sys.platform == "win32" else _c_function("omp_pause_resource_all")
    if pause is not None:
        pause(OMP_PAUSE_SOFT)


def _keep_freed_memory() -> None:
    """Make the C library keep freed memory; only glibc has the function."""
    trim_threshold, mmap_threshold, never = -1, -3, 2**31 - 1
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(trim_threshold, never)
        mallopt(mmap_threshold, never)


def _c_function(name: str) -> Callable[..., int] | None:
    """Return a function of the C libraries that this process has loaded, or None."""
    return getattr(ctypes.CDLL(None), name, None)
