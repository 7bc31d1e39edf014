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
from debias_pipeline.methods import Method, Recipe, Task, get_method
from debias_pipeline.selection_rules import SELECTION_RULES
from debias_pipeline.training.device import prepared
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.stage import RunningStage

# Timing ends after this many steps, or after `_MAX_SECONDS` if steps are slow.
_STEPS: Final = 24
_WARM_UP_STEPS: Final = 4
_MAX_SECONDS: Final = 10.0
# The time of a step hardly depends on the number of training images beyond this one.
_MAX_TRAIN_IMAGES: Final = 4096
# `_MANY_IMAGES` are predicted only if predicting `_FEW_IMAGES` took at most `_SLOW_SECONDS`.
_FEW_IMAGES, _MANY_IMAGES = 50, 1000
_SLOW_SECONDS: Final = 0.2
_GOLDEN_RATIO: Final = 0.618033988749895


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
    method_type = get_method(recipe["method"])
    typed = method_type.recipe_type.model_validate(recipe)
    task = Task(typed.network_input((size.height, size.width, 3)), size.classes, seeds)
    data = _random_data(size, typed.batch_size, device)
    # Room for the losses of all timed steps.
    typed = typed.model_copy(update={"eval_every": typed.steps})
    method = method_type(typed, task).to(device)
    with prepared(device):
        step = _seconds_per_step(method, typed, data, precision)
        image = _seconds_per_image(method, data, precision)
    *earlier, _ = method.stages()
    return Speed(step, image, sum(stage.steps for stage in earlier))


def _seconds_per_step(method: Method, recipe: Recipe, data: ImageData, precision: str) -> float:
    """Make one step of each earlier stage, and time steps of the last one."""
    services = TrainingServices(method, data, precision)
    method.train()
    *earlier, last = method.stages()
    for position, spec in enumerate(earlier):
        RunningStage(method, recipe, data, services, position).train_step(precision)
        method.end(spec, services)
    stage = RunningStage(method, recipe, data, services, len(earlier))
    most = min(_STEPS + _WARM_UP_STEPS, last.steps)
    ends = [time.perf_counter()]
    while len(ends) <= most and ends[-1] - ends[0] < _MAX_SECONDS:
        # Multiples of the golden ratio modulo 1 are spread evenly, whatever their number.
        stage.step = int(last.steps * ((len(ends) - 0.5) * _GOLDEN_RATIO % 1))
        stage.train_step(precision)
        if data.device.type == "cuda":
            torch.cuda.synchronize(data.device)
        ends.append(time.perf_counter())
    first = min(_WARM_UP_STEPS, len(ends) - 2)
    return (ends[-1] - ends[first]) / (len(ends) - 1 - first)


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
    """Time predictions of a few images, and of many if that is fast."""
    seconds = 0.0
    for split, images in (("valid", _FEW_IMAGES), ("test", _MANY_IMAGES)):
        started = time.perf_counter()
        predict(method, data, split, precision)
        seconds = time.perf_counter() - started
        if seconds > _SLOW_SECONDS:
            return seconds / images
    return seconds / _MANY_IMAGES
