from collections.abc import Callable
from typing import Any

import pytest
import torch


@pytest.fixture
def images() -> Callable[[int, int, int], Any]:
    def draw(count: int, height: int, width: int) -> Any:
        generator = torch.Generator().manual_seed(0)
        shape = (count, height, width, 3)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8).numpy()

    return draw
