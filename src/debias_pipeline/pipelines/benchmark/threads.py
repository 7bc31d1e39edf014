"""How many threads a cell computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limited_threads(count: int | None) -> Iterator[int]:
    """Compute with so many threads, afterwards with as many as before.

    Args:
        count: None is what the process has.

    Yields:
        How many they are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
