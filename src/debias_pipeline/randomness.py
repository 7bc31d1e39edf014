"""Create independent random streams by name."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for one purpose of one seed.

    Streams of different purposes are independent: drawing more numbers for one, such as a larger
    network, does not change another, such as the order of images.

    Args:
        seed: the seed of the training run, 0 or more.
        purpose: name of the stream, such as "shuffle".
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()),))
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))


def generators(seeds: Sequence[int], purpose: str) -> list[torch.Generator]:
    """Return one `generator` per seed."""
    return [generator(seed, purpose) for seed in seeds]


@contextmanager
def global_generator_seeded_by(generator: torch.Generator) -> Iterator[None]:
    """Seed PyTorch's global generator in the body of `with`, and restore it afterwards.

    For layers that draw their initial weights from the global generator.

    Args:
        generator: the seed is drawn from it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield
