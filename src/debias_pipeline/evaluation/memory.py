"""What fits into memory, and how to read from a memory map what does not."""

import ctypes
import mmap
from pathlib import Path

import psutil
from torch import Tensor

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Bytes that this process may use: what is free, or a container's limit if that is less."""
    return min([psutil.virtual_memory().available, *_limits_of_cgroups()])


def _limits_of_cgroups() -> list[int]:
    """Memory limits of the control groups that this process is in, of either version of them."""
    if not _OWN_CGROUPS.is_file():
        return []
    limits = []
    for line in _OWN_CGROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        group = _CGROUPS / controllers / path.lstrip("/")
        # A container may see its own group as the root, so the path need not be there.
        limits += [_limit(folder / file) for folder in (group, *group.parents)]
    return [limit for limit in limits if limit is not None]


def _limit(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def expect_random_reads(images: Tensor) -> None:
    """Let the system read no more of a memory map than what is touched.

    It would read on after every page, though the next image lies elsewhere.
    """
    _advise(images.data_ptr(), images.nbytes, "MADV_RANDOM")


def read_ahead(images: Tensor, rows: Tensor) -> None:
    """Ask for some images of a memory map at once, without waiting for them.

    A disk serves many requests in the time of a few; touching the pages would make one request
    after the other.

    Args:
        images: uint8, [N, H, W, 3], a memory map on the CPU.
        rows: int64, [n].
    """
    start, size = images.data_ptr(), images[0].nbytes
    for row in rows.tolist():
        _advise(start + row * size, size, "MADV_WILLNEED")


def _advise(start: int, size: int, advice: str) -> None:
    """Tell the system how memory will be used; where it cannot be told, nothing happens."""
    madvise, code = getattr(_LIBRARY, "madvise", None), getattr(mmap, advice, None)
    if madvise is None or code is None:
        return
    into_page = start % mmap.PAGESIZE
    madvise(ctypes.c_void_p(start - into_page), ctypes.c_size_t(size + into_page), code)


_LIBRARY = ctypes.CDLL(None) if hasattr(mmap, "MADV_RANDOM") else None
