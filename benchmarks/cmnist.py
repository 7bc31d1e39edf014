"""A training step on data of Colored MNIST's shape, and the matrix products that it needs."""

from collections.abc import Callable

import torch

from benchmarks.steps import BATCH, build, random_data, recipe_of, whole_step
from benchmarks.timing import Timing, time_in_turn
from debias_pipeline.evaluation import ImageData
from debias_pipeline.methods import Method


def cmnist_like_data() -> ImageData:
    """Four pixels in five are black, as in MNIST."""
    return random_data(28, black=0.8)


def measure_cmnist_step(
    data: ImageData, name: str, replicas: int, precision: str, rounds: int
) -> dict[str, Timing]:
    """Times of `step`, the whole of it, and `alone`, its largest matrix products."""
    method = build(data, recipe_of(name, network="mlp", lr=0.01), replicas)
    calls = {
        "step": whole_step(method, data, precision),
        "alone": _products(method, replicas, precision),
    }
    return time_in_turn(calls, rounds)


def _products(method: Method, replicas: int, precision: str) -> Callable[[], None]:
    """Forward and weight gradient of the first layer of every encoder, each on its own."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    branches = method.encoder.first.weight.shape[2]
    inputs = torch.rand(BATCH, 2352).to(dtype)
    weight, gradient = torch.rand(2352, 100).to(dtype), torch.rand(BATCH, 100).to(dtype)

    def products() -> None:
        for _ in range(replicas * branches):
            inputs @ weight
            inputs.T @ gradient

    return products
