"""A training step on data of CIFAR-10's shape, and the passes of its ResNets alone."""

from collections.abc import Callable

import torch

from benchmarks.steps import BATCH, build, random_data, recipe_of, whole_step
from benchmarks.timing import Timing, time_in_turn
from debias_pipeline.evaluation import ImageData
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.methods import Method

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def cifar10c_like_data() -> ImageData:
    """Random pixels."""
    return random_data(32)


def measure_cifar10c_step(
    data: ImageData, name: str, precision: str, rounds: int
) -> dict[str, Timing]:
    """Times of `step`, the whole of it, of `alone`, its ResNets' forward and backward passes.

    `alone` is also measured with the other memory format, as `alone_contiguous`.
    """
    recipe = recipe_of(
        name, network="resnet18", lr=0.001, crop_padding=4, flip=True, normalise=True
    )
    method, other = build(data, recipe, 1), build(data, recipe, 1)
    calls = {
        "step": whole_step(method, data, precision),
        "alone": _passes(method, "channels_last", precision),
        "alone_contiguous": _passes(other, "contiguous", precision),
    }
    return time_in_turn(calls, rounds, warm_up=2)


def _passes(method: Method, memory_format: str, precision: str) -> Callable[[], None]:
    layout = MEMORY_FORMATS[memory_format]
    encoder = method.encoder.to(memory_format=layout)
    images = torch.rand(BATCH, 3, 32, 32).to(memory_format=layout).unsqueeze(0)

    def passes() -> None:
        encoder.zero_grad(set_to_none=True)
        with mixed_precision(images.device, precision):
            features = encoder(images)
        features.float().sum().backward()

    return passes
