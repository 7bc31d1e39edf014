"""How much memory a part of a process needs."""

import ctypes
import gc
import sys
from itertools import count
from pathlib import Path
from typing import Final

_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")
# What Linux takes for "forget the peak".
_RESET_PEAK: Final = "5"

# Which trial of this process begins. Some modules are imported while the first one runs.
_trials: Final = count()
_TRIALS_THAT_IMPORT: Final = 2


class PeakMemory:
    """The most memory that this process has held since here, in bytes.

    Linux keeps the peak of a process and can be told to forget it; elsewhere it is not known.
    """

    def __init__(self) -> None:
        """Start to watch."""
        _give_back_freed_memory()
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
            self._known = True
        except OSError:
            self._known = False

    def bytes(self) -> int | None:
        """The peak so far, or None where it cannot be known."""
        if not self._known:
            return None
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None


def _give_back_freed_memory() -> None:
    """Release what training keeps for its next step, so that it is not counted for the next trial.

    Only glibc has the call.
    """
    gc.collect()
    if next(_trials) < _TRIALS_THAT_IMPORT:
        # Modules and the like are looked through by no later collection, which they slow.
        gc.freeze()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
