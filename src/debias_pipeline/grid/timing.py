"""How long a trial will take, from a few of its steps on random images."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from debias_pipeline.biased_data import SetSize
from debias_pipeline.biased_data.manifest import make_manifest
from debias_pipeline.evaluation import predict
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Batch, Losses, Method, Task, get_method
from debias_pipeline.selection_rules import SELECTION_RULES
from debias_pipeline.training import train

# Enough for a mean, few enough not to wait for: where steps are slow, the seconds end it.
_STEPS: Final = 24
_UNCOUNTED_STEPS: Final = 4
_MOST_SECONDS: Final = 10.0
# More images than these change the time of a step little.
_MOST_TRAIN_IMAGES: Final = 4096
_FEW_IMAGES, _MANY_IMAGES = 50, 1000
_SLOW: Final = 0.2
_GOLDEN: Final = 0.618033988749895


@dataclass(frozen=True)
class Speed:
    """Seconds that parts of a trial take.

    Attributes:
        step: one step of all seeds together.
        image: predicting one image with the networks of all seeds.
        earlier_steps: number of steps of the stages before the last one. Each is taken to last as
            long as one of the last stage.
    """

    step: float
    image: float
    earlier_steps: int = 0

    def seconds(self, recipe: Mapping[str, Any], size: SetSize) -> float:
        """Of a whole trial: its steps, its evaluations and the predictions at the end."""
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
    """Time a few steps and predictions by the training loop itself.

    The steps are spread over the whole run, as a method may do more in later ones.

    Args:
        recipe: of the method.
        size: of the data set.
        seeds: trained together.
        device: where to compute.
        precision: fp32 or bf16.
    """
    method_type = get_method(recipe["method"])
    typed = method_type.recipe_type.model_validate(recipe)
    task = Task(typed.network_input((size.height, size.width, 3)), size.classes, seeds)
    data = _random_data(size, typed.batch_size, device)
    method = method_type(typed, task).to(device)
    *earlier, _ = method.stages()
    _spread_steps(method, typed.steps)
    _shorten_stages(method)
    clock = _Clock(device, len(earlier))
    few = typed.model_copy(update={"eval_every": typed.steps})
    with suppress(_EnoughError):
        train(method, few, data, precision=precision, listeners=[clock])
    return Speed(
        clock.seconds_per_step(),
        _seconds_per_image(method, data, precision),
        sum(stage.steps for stage in earlier),
    )


class _EnoughError(Exception):
    """Ends training when enough steps are timed."""


class _Clock:
    """Notes when steps end, after some that are not of interest."""

    def __init__(self, device: torch.device, skipped: int) -> None:
        self._device, self._skipped = device, skipped
        self._ends = [time.perf_counter()]

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """No snapshot is used."""

    def on_step(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        if self._skipped:
            self._skipped -= 1
            self._ends = [time.perf_counter()]
            return
        self._ends.append(time.perf_counter())
        long = self._ends[-1] - self._ends[0] > _MOST_SECONDS
        if long or len(self._ends) > _STEPS + _UNCOUNTED_STEPS:
            raise _EnoughError

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """No step is followed by one."""

    def seconds_per_step(self) -> float:
        """A mean without the first steps, which also set things up."""
        first = min(_UNCOUNTED_STEPS, len(self._ends) - 2)
        return (self._ends[-1] - self._ends[first]) / (len(self._ends) - 1 - first)


def _spread_steps(method: Method, steps: int) -> None:
    """Let a method take the few steps that it makes for some of a whole run's."""
    losses = method.losses

    def losses_of_another_step(batch: Batch, step: int) -> Losses:
        # Multiples of the golden ratio are spread evenly however many are taken.
        return losses(batch, int(steps * ((step + 0.5) * _GOLDEN % 1)))

    method.losses = losses_of_another_step  # type: ignore[method-assign]


def _shorten_stages(method: Method) -> None:
    """Let a method make one step of each stage before the last one."""
    *earlier, last = method.stages()
    stages = (*(replace(stage, steps=min(stage.steps, 1)) for stage in earlier), last)
    method.stages = lambda: stages  # type: ignore[method-assign]


def _random_data(size: SetSize, batch_size: int, device: torch.device) -> ImageData:
    random = np.random.default_rng(0)
    counts = {
        "train": max(batch_size, min(size.train, _MOST_TRAIN_IMAGES)),
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
    seconds = 0.0
    for split, images in (("valid", _FEW_IMAGES), ("test", _MANY_IMAGES)):
        started = time.perf_counter()
        predict(method, data, split, precision)
        seconds = time.perf_counter() - started
        if seconds > _SLOW:
            return seconds / images
    return seconds / _MANY_IMAGES
