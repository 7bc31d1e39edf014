"""Images as corruptions compute with them: planes of floats, a channel each.

Planes are float32, 3 × N × 32 × 32 in 0..1, since NumPy is slow along a short last axis.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
# float32 or float64: what a corruption computes in is a matter of speed, not of its contract.
Floats = npt.NDArray[Any]
SIDE: Final = 32
# In levels: keeps one that arithmetic left a hair below itself from being cut to the next lower.
HAIR: Final = 1e-3
_LUMA_WEIGHTS: Final = (0.299, 0.587, 0.114)


def to_planes(images: Bytes) -> Floats:
    """Levels (uint8, N × 32 × 32 × 3) as planes."""
    planes = np.ascontiguousarray(images.transpose(3, 0, 1, 2)).astype(np.float32)
    planes /= 255
    return planes


def to_bytes(planes: Floats) -> Bytes:
    """Planes as levels, uint8, N × 32 × 32 × 3; fractions are cut off, as CIFAR-10-C does."""
    levels = np.clip(planes, 0, 1) * np.float32(255) + np.float32(HAIR)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 3, 0))


def luma(planes: Floats) -> Floats:
    """How light each pixel is to the eye, N × 32 × 32 (ITU-R BT.601)."""
    red, green, blue = _LUMA_WEIGHTS
    grey: Floats = red * planes[0] + green * planes[1] + blue * planes[2]
    return grey
