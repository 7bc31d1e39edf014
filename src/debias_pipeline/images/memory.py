"""Measure the available memory, and read images ahead from a memory map that does not fit in it."""

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Return the bytes that this process may use: free memory, or a container's lower limit."""
    return min([psutil.virtual_memory().available, *_limits_of_cgroups()])


def free_device_memory(device: torch.device) -> int:
    """Return the free bytes of a CUDA device; other devices share the memory of this process."""
    if device.type == "cuda":
        # PyTorch keeps freed blocks and uses them again; CUDA counts them as occupied.
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reusable
    return available_memory()


def _limits_of_cgroups() -> list[int]:
    """Return the memory limits of this process's control groups, version 1 or 2."""
    if not _OWN_CGROUPS.is_file():
        return []
    limits = []
    for line in _OWN_CGROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        group = _CGROUPS / controllers / path.lstrip("/")
        # A container may see its own group as the root, so the path may not exist.
        limits += [_limit(folder / file) for folder in (group, *group.parents)]
    return [limit for limit in limits if limit is not None]


def _limit(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


class ReadAhead:
    """Ask the operating system to read images of a memory map before they are used.

    A disk serves many requests at once in the time of a few. Touching the pages instead would
    make one request after the other.
    """

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        """Turn off the operating system's own reading ahead, which would read the wrong images.

        Args:
            images: uint8, [N, H, W, 3]; nothing is done if it is not a memory map of a whole
                array, or if the operating system does not support madvise.
        """
        self._map: mmap.mmap | None = None
        self._start = 0
        self._bytes_per_image = images[0].nbytes
        if (
            isinstance(images, np.memmap)
            and isinstance(images.base, mmap.mmap)
            and hasattr(mmap, "MADV_WILLNEED")
        ):
            self._map = images.base
            # The map begins at the last multiple of the granularity before the array.
            self._start = images.offset % mmap.ALLOCATIONGRANULARITY
            self._map.madvise(mmap.MADV_RANDOM)

    def request(self, rows: Tensor) -> None:
        """Ask for some images, without waiting for them.

        Args:
            rows: int64, [n], on the CPU.
        """
        if self._map is None:
            return
        for row in rows.tolist():
            first = self._start + row * self._bytes_per_image
            # madvise takes whole pages.
            page = first - first % mmap.PAGESIZE
            size = first + self._bytes_per_image - page
            self._map.madvise(mmap.MADV_WILLNEED, page, size)
