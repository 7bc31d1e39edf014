"""Independent, named streams of random numbers."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one seed.

    Streams of different purposes are independent, so that drawing more numbers for one
    (say, a larger network) leaves the others (say, the order of the images) as they were.

    Args:
        seed: the seed of the training run, 0 or more.
        purpose: what the numbers are for, such as "shuffle".
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()),))
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))


def generators(seeds: Sequence[int], purpose: str) -> list[torch.Generator]:
    """One `generator` per seed."""
    return [generator(seed, purpose) for seed in seeds]
