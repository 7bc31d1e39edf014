"""Measure the peak memory of a trial."""

import ctypes
import gc
import sys
from itertools import count
from pathlib import Path
from typing import Final

_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")
# Linux resets the peak when this is written to clear_refs.
_RESET_PEAK: Final = "5"

# Counts the trials of this process. Some modules are imported during the first one.
_trials: Final = count()
_TRIALS_THAT_IMPORT: Final = 2


class PeakMemory:
    """Measure the peak memory of this process since the object was created.

    The peak is known on Linux only, which can reset it.
    """

    def __init__(self) -> None:
        """Release freed memory and reset the peak."""
        _release_freed_memory()
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
            self._known = True
        except OSError:
            self._known = False

    def bytes(self) -> int | None:
        """Return the peak in bytes, or None if it is unknown."""
        if not self._known:
            return None
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None


def _release_freed_memory() -> None:
    """Return freed memory to the system, so that it is not counted for the next trial.

    Only glibc has this function.
    """
    gc.collect()
    if next(_trials) < _TRIALS_THAT_IMPORT:
        # Exclude modules and other permanent objects, which would slow down later collections.
        gc.freeze()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
