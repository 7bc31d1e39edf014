"""Compare the time of a training step with that of the products that it cannot avoid."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch.utils.benchmark import Measurement, Timer

from benchmarks.cases import Case
from benchmarks.rows import Row, Spread
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method
from debias_pipeline.training.device import prepared

# Steps and products take turns this many times if the time allows it, and at least twice.
ROUNDS = 6


def step_row(case: Case, data: ImageData, seconds: float) -> Row:
    """Time the steps of a case and their products in turn.

    Args:
        data: the images.
        seconds: time to spend; slow steps may take longer.

    Returns:
        Medians and quartiles: of the times over all repetitions, of the ratio over the rounds.
    """
    with prepared(data.device):
        _, stage = case.last_stage(data)
        recipe = case.recipe()
        products = bare_products(case.untrained(recipe, data), recipe.batch_size, case.precision)
        rounds = in_turn([lambda: stage.train_step(case.precision), products], seconds)
    step, alone = (Measurement.merge(each)[0] for each in zip(*rounds, strict=True))
    ratio = Spread.of([of_step.median / of_products.median for of_step, of_products in rounds])
    return {
        **asdict(case),
        "step, ms": Spread.of([1000 * each for each in step.times]),
        "products, ms": Spread.of([1000 * each for each in alone.times]),
        "ratio": ratio,
        "seed-steps/s": case.seeds / step.median,
        "rounds": len(rounds),
        "steps": len(step.times) * step.number_per_run,
    }


def in_turn(calls: Sequence[Callable[[], None]], seconds: float) -> list[list[Measurement]]:
    """Time some calls in turn, so that a slow or busy machine slows all of them.

    Returns:
        A list of rounds with a measurement per call.
    """
    timers = [
        Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
        for call in calls
    ]
    rounds: list[list[Measurement]] = []
    end = time.monotonic() + seconds
    while len(rounds) < 2 or (len(rounds) < ROUNDS and time.monotonic() < end):
        at_once = seconds / ROUNDS / len(calls)
        rounds.append([timer.blocked_autorange(min_run_time=at_once) for timer in timers])
    return rounds


def bare_products(method: Method, batch_size: int, precision: str) -> Callable[[], None]:
    """Return a function that computes the products of one step with random factors.

    They are those of all encoders of `method.encoder`, without heads, transforms, losses and
    update: every matrix product of multi-layer perceptrons on its own, or the forward and backward
    passes of convolutional networks.

    Raises:
        ValueError: if the method has no `encoder`.
    """
    if not hasattr(method, "encoder"):
        raise ValueError(f"{method.name} has no encoder whose products can be timed")
    state = method.encoder.branch_state(0, 0)
    if any(each.ndim == 4 for each in state.values()):
        return _passes(method, batch_size, precision)
    return _matrix_products(method, batch_size, precision)


def _matrix_products(method: Method, batch_size: int, precision: str) -> Callable[[], None]:
    """Return the products forward, of weight gradients, and of all but the first input gradient."""
    with torch.inference_mode():
        height, width, channels = method.task.image_shape
        seeds, branches, *_ = method.encoder(torch.rand(1, 2, channels, height, width)).shape
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    layers = [
        [torch.rand(*shape).to(dtype) for shape in ((batch_size, i), (i, o), (batch_size, o))]
        for o, i in (
            each.shape for each in method.encoder.branch_state(0, 0).values() if each.ndim == 2
        )
    ]

    def products() -> None:
        for _ in range(seeds * branches):
            for number, (inputs, weight, gradient) in enumerate(layers):
                torch.mm(inputs, weight)
                torch.mm(inputs.T, gradient)
                if number:
                    torch.mm(gradient, weight.T)

    return products


def _passes(method: Method, batch_size: int, precision: str) -> Callable[[], None]:
    """Return the forward and backward passes of all encoders."""
    encoder = method.encoder.to(memory_format=torch.channels_last)
    height, width, channels = method.task.image_shape
    images = torch.rand(batch_size, channels, height, width)
    images = images.to(memory_format=torch.channels_last).unsqueeze(0)

    def passes() -> None:
        encoder.zero_grad(set_to_none=True)
        with mixed_precision(images.device, precision):
            features = encoder(images)
        features.float().sum().backward()

    return passes
