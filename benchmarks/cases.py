"""What is measured: data set × method × seeds × precision, on random images."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.stage import RunningStage

PROJECT = Path(__file__).parents[1]
PRECISIONS = ("fp32", "bf16")
# Data set → height and width of an image, and number of training images, as published.
SIZES = {"cmnist": (28, 55_000), "cifar10c": (32, 45_000)}
# The time of a step does not depend on the percent.
PERCENT = "2pct"
CLASSES = 10
# A stage never ends while it is measured, and its window of losses has room for many steps.
ENDLESS = {"steps": 200_000, "eval_every": 100_000}


@dataclass(frozen=True)
class Case:
    """A method with the published recipe of a data set, and how it is trained.

    Attributes:
        seeds: number of seeds that train together (R).
    """

    dataset: str
    method: str
    seeds: int
    precision: str

    def recipe(self, **changes: Any) -> Recipe:
        """Return the recipe in conf/base with some fields changed.

        Features are swapped from the first step on, as in most steps of a published run.
        """
        overrides = {"swap_start": 0, **changes}
        found = resolve_method(
            self.method, recipes(), self.dataset, PERCENT, overrides, data_options={}
        )
        return get_method(self.method).recipe_type.model_validate(found["recipe"])

    def untrained(self, recipe: Recipe, data: ImageData) -> Method:
        """Return new networks."""
        shape = recipe.network_input(tuple(data.images.shape[1:]))
        return get_method(self.method)(recipe, Task(shape, CLASSES, range(self.seeds)))

    def last_stage(self, data: ImageData, **changes: Any) -> tuple[Method, RunningStage]:
        """Return new networks and the last stage of their training, ready for `train_step`."""
        recipe = self.recipe(**ENDLESS, **changes)
        method = self.untrained(recipe, data)
        services = TrainingServices(method, data, self.precision)
        method.train()
        for position in range(len(method.stages())):
            # The earlier stages create buffers that the last one reads.
            stage = RunningStage(method, recipe, data, services, position)
        return method, stage


def cases(
    datasets: Sequence[str],
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (1,),
    precisions: Sequence[str] = PRECISIONS,
) -> Iterator[Case]:
    """Yield all combinations that have a recipe; all methods by default."""
    for dataset in datasets:
        with_recipe = [each for each in methods or method_names() if has_recipe(dataset, each)]
        for combination in itertools.product([dataset], with_recipe, seeds, precisions):
            yield Case(*combination)


def has_recipe(dataset: str, method: str) -> bool:
    """Return whether conf/base has a recipe."""
    return "recipe" in resolve_method(method, recipes(), dataset, PERCENT, {}, data_options={})


@cache
def recipes() -> dict[str, Any]:
    """Return the recipes of conf/base."""
    files = sorted((PROJECT / "conf/base/parameters_recipes").glob("*.yml"))
    return OmegaConf.to_container(OmegaConf.merge(*(OmegaConf.load(path) for path in files)))


@cache
def random_data(side: int, train: int) -> ImageData:
    """Return random images.

    Args:
        side: height and width in pixels.
        train: number of training images; the other splits have ten each.
    """
    shape = (train + 20, side, side, 3)
    return with_random_labels(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def with_random_labels(images: np.ndarray) -> ImageData:
    """Return images with ten labels, 2 % bias-conflicting; the last twenty are not for training."""
    random = np.random.default_rng(0)
    count = len(images)
    splits = {"train": count - 20, "valid": 10, "test": 10}
    label = random.integers(0, CLASSES, count)
    bias = np.where(random.random(count) < 0.98, label, (label + 1) % CLASSES)
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
