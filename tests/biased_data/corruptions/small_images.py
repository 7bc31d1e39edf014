"""Images to corrupt, and what to hold the corrupted ones against."""

import numpy as np

from debias_pipeline.biased_data.corruptions import CORRUPTION_NAMES, CORRUPTIONS

N = 6


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def constants(name: str, severity: int):
    return CORRUPTIONS[CORRUPTION_NAMES.index(name)].constants[severity - 1]


def plain(level: int | tuple[int, int, int], n: int = N) -> np.ndarray:
    return np.full((n, 32, 32, 3), level, np.uint8)


def near(found: np.ndarray, expected: np.ndarray, levels: float = 1.01) -> bool:
    return bool((np.abs(found.astype(float) - expected) <= levels).all())
