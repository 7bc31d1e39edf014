"""A training step on data of Colored MNIST's shape, and the matrix products that it needs."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from benchmarks.timing import Timing, time_in_turn
from debias_pipeline.evaluation import ImageData
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.methods import Method, Recipe, Task, get_method
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.device import prepare

SHAPE, CLASSES, BATCH = (28, 28, 3), 10, 256
SIZES = {"train": 55_000, "valid": 5_000, "test": 10_000}


def digits_like_data() -> ImageData:
    """Random images of which four pixels in five are black, as in MNIST."""
    random = np.random.default_rng(0)
    count = sum(SIZES.values())
    images = random.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    images[random.random((count, 28, 28)) < 0.8] = 0
    label = random.integers(0, CLASSES, count)
    bias = np.where(random.random(count) < 0.98, label, random.integers(0, CLASSES, count))
    manifest = pd.DataFrame(
        {
            "image_id": np.arange(count),
            "split": np.repeat(list(SIZES), list(SIZES.values())),
            "label": label,
            "bias": bias,
            "conflicting": pd.array(bias != label, dtype="boolean"),
        }
    )
    return ImageData.from_catalog(images, manifest, torch.device("cpu"))


def recipe_of(name: str) -> Recipe:
    """The published recipe, with features swapped from the start."""
    fields = {"method": name, "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50_000}
    if name == "disent":
        fields |= {
            "lambda_dis": 10, "lambda_swap_b": 10, "lambda_swap": 1, "swap_start": 0,
            "decay_every": 10_000, "gamma": 0.5,
        }  # fmt: skip
    return get_method(name).recipe_type.model_validate(fields)


def measure_step(
    data: ImageData, name: str, replicas: int, precision: str, rounds: int
) -> dict[str, Timing]:
    """Times of `step`, the whole of it, and `products`, its largest matrix products alone."""
    prepare(data.device)
    recipe = recipe_of(name)
    method = get_method(name)(recipe, Task(SHAPE, CLASSES, range(replicas)))
    method.begin_training(torch.tensor(data.splits["train"].labels))
    calls = {
        "step": _step(method, recipe, data, precision),
        "products": _products(method, replicas, precision),
    }
    return time_in_turn(calls, rounds)


def _step(method: Method, recipe: Recipe, data: ImageData, precision: str) -> Callable[[], object]:
    batches = BatchStream(data, method.task.seeds, recipe.batch_size, recipe.transform)
    adam = torch.optim.Adam(method.parameters(), lr=recipe.lr, fused=True)

    def step() -> None:
        batch = batches.next()
        with mixed_precision(data.device, precision):
            losses = method.losses(batch, step=1)
        adam.zero_grad(set_to_none=True)
        losses.total.sum().backward()
        adam.step()

    return step


def _products(method: Method, replicas: int, precision: str) -> Callable[[], object]:
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
