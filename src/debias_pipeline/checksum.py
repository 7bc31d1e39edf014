"""A checksum of an image array, which tells whether a data card belongs to it."""

import json
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class ImagesChecksum:
    """CRC-32 of the shape and the pixels of an image array, which is added in pieces."""

    def __init__(self, shape: Sequence[int]) -> None:
        """Begin with the shape of the whole array."""
        self._value = zlib.crc32(json.dumps([*shape]).encode())

    def add(self, images: npt.NDArray[np.uint8]) -> memoryview:
        """Add the next images, of any number; return their bytes."""
        pixels = np.ascontiguousarray(images).data
        self._value = zlib.crc32(pixels, self._value)
        return pixels

    def __str__(self) -> str:
        """Return eight hexadecimal digits."""
        return f"{self._value:08x}"
