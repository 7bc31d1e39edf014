"""Time a few steps of a training."""

import time
from typing import Final

import torch

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method
from debias_pipeline.training.device import prepared
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.stage import RunningStage

# Timing ends after this many steps, or after `_MAX_SECONDS` if steps are slow.
_STEPS: Final = 24
_WARM_UP_STEPS: Final = 4
_MAX_SECONDS: Final = 10.0
_GOLDEN_RATIO: Final = 0.618033988749895


def seconds_per_step(method: Method, data: ImageData, precision: str) -> float:
    """Make one step of each stage but the last, and time a few steps of the last one.

    The timed steps are spread over the whole stage, as later steps of a method may be slower.

    Args:
        method: untrained networks, which are trained by this.
        data: images and splits.
        precision: fp32 or bf16.

    Returns:
        The mean duration of a step in seconds, without the first ones.
    """
    # Room for the losses of all timed steps.
    recipe = method.recipe.model_copy(update={"eval_every": method.recipe.steps})
    services = TrainingServices(method, data, precision)
    method.train()
    *earlier, last = method.stages()
    with prepared(data.device):
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
