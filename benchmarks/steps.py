"""Made-up data of the published sizes, published recipes, and untrained networks."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf

from debias_pipeline.evaluation import ImageData
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.methods import Method, Recipe, Task, get_method
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.device import prepare

RECIPES = Path(__file__).parents[1] / "conf/base/parameters_recipes.yml"
CLASSES, BATCH = 10, 256
SPLITS = {"train": 55_000, "valid": 5_000, "test": 10_000}
# A ResNet takes long over 15,000 images: a tenth of them is evaluated, and the time multiplied.
CIFAR10C_SPLITS = {"train": 45_000, "valid": 500, "test": 1_000}
CIFAR10C_EVALUATION_FACTOR = 10


def random_data(side: int, *, black: float = 0.0, splits: Mapping[str, int] = SPLITS) -> ImageData:
    """Random images of ten labels, 2 % of them against the bias.

    Args:
        side: height and width in pixels.
        black: share of the pixels that are black.
        splits: how many images there are, by split.
    """
    random = np.random.default_rng(0)
    count = sum(splits.values())
    images = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    images[random.random((count, side, side)) < black] = 0
    label = random.integers(0, CLASSES, count)
    bias = np.where(random.random(count) < 0.98, label, random.integers(0, CLASSES, count))
    manifest = pd.DataFrame(
        {
            "image_id": np.arange(count),
            "split": np.repeat(list(splits), list(splits.values())),
            "label": label,
            "bias": bias,
            "conflicting": pd.array(bias != label, dtype="boolean"),
        }
    )
    return ImageData.from_catalog(images, manifest, torch.device("cpu"))


def cmnist_like_data(splits: Mapping[str, int] = SPLITS) -> ImageData:
    """28 × 28 pixels; four in five are black, as in MNIST."""
    return random_data(28, black=0.8, splits=splits)


def cifar10c_like_data(splits: Mapping[str, int] = CIFAR10C_SPLITS) -> ImageData:
    """32 × 32 pixels."""
    return random_data(32, splits=splits)


def published_recipe(dataset: str, method: str, **changes: object) -> Recipe:
    """A recipe as conf/base has it; features are swapped from the start, where they are.

    Args:
        dataset: cmnist or cifar10c.
        method: its name.
        changes: fields to set on top.
    """
    recipes = OmegaConf.to_container(OmegaConf.load(RECIPES))
    fields = dict(recipes[method]["recipes"][dataset])
    fields.pop("at", None)
    if "swap_start" in fields:
        fields["swap_start"] = 0
    recipe_type = get_method(method).recipe_type
    return recipe_type.model_validate({"method": method, **fields, **changes})


def untrained(data: ImageData, recipe: Recipe, replicas: int) -> Method:
    """Networks for `train`."""
    shape = recipe.network_input(tuple(data.images.shape[1:]))
    return get_method(recipe.method)(recipe, Task(shape, CLASSES, range(replicas)))


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
