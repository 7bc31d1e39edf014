"""Made-up data of the published sizes, published recipes, and untrained networks."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method, Recipe, Task, get_method, method_names
from debias_pipeline.recipes import resolve_method

RECIPES = Path(__file__).parents[1] / "conf/base/parameters_recipes"
# The steps of one percent take as long as those of another.
PERCENT = "2pct"
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
    overrides = {"swap_start": 0, **changes}
    recipe = resolve_method(method, _recipes(), dataset, PERCENT, overrides)["recipe"]
    return get_method(method).recipe_type.model_validate(recipe)


def methods_with_recipe(dataset: str) -> list[str]:
    """The methods that have a recipe for a data set, sorted."""
    return [
        name
        for name in method_names()
        if "recipe" in resolve_method(name, _recipes(), dataset, PERCENT, {})
    ]


@cache
def _recipes() -> dict[str, Any]:
    files = [OmegaConf.load(path) for path in sorted(RECIPES.glob("*.yml"))]
    return OmegaConf.to_container(OmegaConf.merge(*files))


def untrained(data: ImageData, recipe: Recipe, replicas: int) -> Method:
    """Networks for `train`."""
    shape = recipe.network_input(tuple(data.images.shape[1:]))
    return get_method(recipe.method)(recipe, Task(shape, CLASSES, range(replicas)))
