"""Batches of images corrupted: all in one way, or each in a way of its own."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.corruptions.kinds import (
    CORRUPTION_NAMES,
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
)
from debias_pipeline.biased_data.corruptions.operations import SIDE, Bytes

# Images at a time; their float copies fit into the processor's cache.
_CHUNK: Final = 256
# Pixels between the images of a contact sheet.
SHEET_GAP: Final = 2


def corrupt(images: Bytes, name: str, severity: int, rng: np.random.Generator) -> Bytes:
    """Apply one corruption to all images.

    Corrupting them one by one with the same generator gives the same bytes.

    Args:
        images: uint8, N × 32 × 32 × 3, RGB.
        name: one of `CORRUPTION_NAMES`.
        severity: 1 to 5.
        rng: draws a seed for each image.

    Returns:
        uint8, N × 32 × 32 × 3; `images` is not changed.

    Raises:
        ValueError: if an argument is invalid.
    """
    if name not in CORRUPTION_NAMES:
        raise ValueError(
            f"Unknown corruption {name!r}; choose one of {', '.join(CORRUPTION_NAMES)}"
        )
    corrupted = images.copy()
    corrupt_each(corrupted, np.full(len(images), CORRUPTION_NAMES.index(name)), severity, rng)
    return corrupted


def corrupt_each(
    images: Bytes,
    kinds: npt.NDArray[np.integer[Any]],
    severity: int,
    rng: np.random.Generator,
) -> None:
    """Apply to each image the corruption given for it, in place to save memory.

    Args:
        images: uint8, N × 32 × 32 × 3, RGB; overwritten.
        kinds: int, N, indices into `CORRUPTIONS`.
        severity: 1 to 5.
        rng: draws a seed for each image.

    Raises:
        ValueError: if an argument is invalid.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity={severity} is not one of {SEVERITIES}")
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(
            f"Images must be uint8, N x 32 x 32 x 3, not {images.dtype} {images.shape}"
        )
    if not set(np.unique(kinds)) <= set(range(len(CORRUPTIONS))):
        raise ValueError(f"Kinds must be in 0..{len(CORRUPTIONS) - 1}")
    seeds = rng.integers(2**63, size=len(images), dtype=np.uint64)

    def work(task: tuple[Corruption, npt.NDArray[np.intp]]) -> None:
        corruption, rows = task
        constants = corruption.constants[severity - 1]
        images[rows] = corruption.apply(images[rows], constants, seeds[rows])

    tasks = [
        (corruption, rows[start : start + _CHUNK])
        for kind, corruption in enumerate(CORRUPTIONS)
        for rows in [np.flatnonzero(kinds == kind)]
        for start in range(0, len(rows), _CHUNK)
    ]
    # NumPy, SciPy and Pillow mostly release the GIL.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, tasks):
            pass


def contact_sheet(images: Bytes, seed: int) -> Bytes:
    """Return a grid of every corruption at every severity.

    Args:
        images: uint8, N × 32 × 32 × 3, RGB: a few examples.
        seed: of the corruptions; random layers are the same at every severity.

    Returns:
        uint8, H × W × 3, with white gaps of `SHEET_GAP` pixels. Row r shows `CORRUPTIONS[r]`; for
        each image there are six columns, the clean image and severity 1 to 5.
    """
    rows = []
    for index, name in enumerate(CORRUPTION_NAMES):
        # image by image: clean, then severity 1 to 5
        cells = np.stack(
            [images]
            + [
                corrupt(images, name, severity, np.random.default_rng((seed, index)))
                for severity in SEVERITIES
            ],
            axis=1,
        ).reshape(-1, SIDE, SIDE, 3)
        framed = np.pad(
            cells, ((0, 0), (0, SHEET_GAP), (0, SHEET_GAP), (0, 0)), constant_values=255
        )
        rows.append(np.concatenate(list(framed), axis=1))
    return np.concatenate(rows)[:-SHEET_GAP, :-SHEET_GAP]
