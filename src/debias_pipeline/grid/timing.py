"""Estimate the duration of a trial by timing a few of its steps on random images."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from debias_pipeline.biased_data import SetSize
from debias_pipeline.biased_data.manifest import make_manifest
from debias_pipeline.evaluation import predict
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method, make_method
from debias_pipeline.selection_rules import SELECTION_RULES
from debias_pipeline.training import seconds_per_step
from debias_pipeline.training.device import prepared

# The time of a step hardly depends on the number of training images beyond this one.
_MAX_TRAIN_IMAGES: Final = 4096
# `_MANY_IMAGES` are predicted only if predicting `_FEW_IMAGES` took at most `_SLOW_SECONDS`.
_FEW_IMAGES, _MANY_IMAGES = 50, 1000
_SLOW_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Speed:
    """Measured durations of the parts of a trial.

    Attributes:
        step: seconds of one step of all seeds together.
        image: seconds to predict one image with the networks of all seeds.
        earlier_steps: number of steps of the stages before the last one; each is assumed to take as
            long as a step of the last stage.
    """

    step: float
    image: float
    earlier_steps: int = 0

    def seconds(self, recipe: Mapping[str, Any], size: SetSize) -> float:
        """Return the seconds of a whole trial: steps, evaluations and the final predictions."""
        evaluations = math.ceil(recipe["steps"] / recipe["eval_every"])
        images = evaluations * (size.valid + size.test) + len(SELECTION_RULES) * size.test
        steps = self.earlier_steps + recipe["steps"]
        return float(steps * self.step + images * self.image)


def measure(
    recipe: Mapping[str, Any],
    size: SetSize,
    seeds: Sequence[int],
    device: torch.device,
    precision: str,
) -> Speed:
    """Time a few steps of the training loop, and a few predictions.

    The timed steps are spread over the whole run, as later steps of a method may be slower.

    Args:
        recipe: recipe of the method.
        size: size of the data set.
        seeds: seeds that are trained together.
        device: device to compute on.
        precision: fp32 or bf16.
    """
    method = make_method(recipe, (size.height, size.width, 3), size.classes, seeds).to(device)
    data = _random_data(size, method.recipe.batch_size, device)
    step = seconds_per_step(method, data, precision)
    with prepared(device):
        image = _seconds_per_image(method, data, precision)
    *earlier, _ = method.stages()
    return Speed(step, image, sum(stage.steps for stage in earlier))


def _random_data(size: SetSize, batch_size: int, device: torch.device) -> ImageData:
    """Return random images with the shape and classes of a data set."""
    random = np.random.default_rng(0)
    counts = {
        "train": max(batch_size, min(size.train, _MAX_TRAIN_IMAGES)),
        "valid": _FEW_IMAGES,
        "test": _MANY_IMAGES,
    }
    total = sum(counts.values())
    label = random.integers(0, size.classes, total).astype(np.int16)
    manifest = make_manifest(
        split=np.repeat([*counts], [*counts.values()]),
        label=label,
        # For methods that use bias labels.
        bias=label,
        conflicting=None,
        source=["random"] * total,
    )
    images = random.integers(0, 256, (total, size.height, size.width, 3), dtype=np.uint8)
    return ImageData.from_catalog(images, manifest, device)


def _seconds_per_image(method: Method, data: ImageData, precision: str) -> float:
    """Return the seconds to predict one image, measured on a few images, or on many if fast."""
    seconds = 0.0
    for split, images in (("valid", _FEW_IMAGES), ("test", _MANY_IMAGES)):
        started = time.perf_counter()
        predict(method, data, split, precision)
        seconds = time.perf_counter() - started
        if seconds > _SLOW_SECONDS:
            return seconds / images
    return seconds / _MANY_IMAGES
