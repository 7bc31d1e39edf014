"""A whole training step of any method, as something to time."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from debias_pipeline.evaluation import ImageData
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.methods import Method, Recipe, Task, get_method
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.device import prepare

CLASSES, BATCH = 10, 256
SPLITS = {"train": 55_000, "valid": 5_000, "test": 10_000}


def random_data(side: int, *, black: float = 0.0) -> ImageData:
    """Random images of 70,000 labels, 2 % of them against the bias.

    Args:
        side: height and width in pixels.
        black: share of the pixels that are black.
    """
    random = np.random.default_rng(0)
    count = sum(SPLITS.values())
    images = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    images[random.random((count, side, side)) < black] = 0
    label = random.integers(0, CLASSES, count)
    bias = np.where(random.random(count) < 0.98, label, random.integers(0, CLASSES, count))
    manifest = pd.DataFrame(
        {
            "image_id": np.arange(count),
            "split": np.repeat(list(SPLITS), list(SPLITS.values())),
            "label": label,
            "bias": bias,
            "conflicting": pd.array(bias != label, dtype="boolean"),
        }
    )
    return ImageData.from_catalog(images, manifest, torch.device("cpu"))


def recipe_of(method: str, **fields: object) -> Recipe:
    """A recipe with the published batch size, features swapped from the start."""
    fields = {"method": method, "batch_size": BATCH, "steps": 50_000, **fields}
    if method == "disent":
        fields |= {
            "lambda_dis": 10, "lambda_swap_b": 10, "lambda_swap": 1, "swap_start": 0,
            "decay_every": 10_000, "gamma": 0.5,
        }  # fmt: skip
    return get_method(method).recipe_type.model_validate(fields)


def build(data: ImageData, recipe: Recipe, replicas: int) -> Method:
    """Untrained networks, ready for their first step."""
    prepare(data.device)
    shape = tuple(data.images.shape[1:])
    method = get_method(recipe.method)(recipe, Task(shape, CLASSES, range(replicas)))
    method.begin_training(torch.tensor(data.splits["train"].labels))
    return method


def whole_step(method: Method, data: ImageData, precision: str) -> Callable[[], None]:
    """Batch, transforms, losses, gradients, update: what the loop does at every step."""
    recipe = method.recipe
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
