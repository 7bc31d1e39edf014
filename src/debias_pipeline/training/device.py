"""Where training computes."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from debias_pipeline.errors import UserError


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
    the time of a step (benchmarks/README.md).
    """
    if device.type != "cpu":
        return
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        _keep_freed_memory()


@contextmanager
def prepared(device: torch.device) -> Iterator[None]:
    """`prepare`; afterwards denormal numbers count again, as others may need them."""
    prepare(device)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed; only glibc has the call."""
    trim_threshold, mmap_threshold, never = -1, -3, 2**31 - 1
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(trim_threshold, never)
        mallopt(mmap_threshold, never)
