"""Training steps on data of CIFAR-10's shape, and the passes of their ResNets alone."""

from benchmarks.alone import passes
from benchmarks.cases import Case
from benchmarks.parts import Parts, measure_parts
from benchmarks.real_steps import Blocks, summaries, time_steps
from benchmarks.steps import (
    CIFAR10C_EVALUATION_FACTOR,
    cifar10c_like_data,
    published_recipe,
    untrained,
)
from benchmarks.timing import Timing
from debias_pipeline.images import ImageData

__all__ = ["cifar10c_like_data", "measure_cifar10c_step", "parts_of_cifar10c_run"]


def measure_cifar10c_step(data: ImageData, case: Case, blocks: int) -> dict[str, Timing]:
    """Times of `step`, the whole of it, of `alone`, its ResNets' forward and backward passes.

    With one seed `alone` is also measured in the other memory format, as `alone_contiguous`.
    """
    recipe = published_recipe("cifar10c", case.method)
    calls = {
        "alone": passes(untrained(data, recipe, case.replicas), "channels_last", case.precision)
    }
    if case.replicas == 1:
        other = untrained(data, recipe, 1)
        calls["alone_contiguous"] = passes(other, "contiguous", case.precision)
    # A step takes up to seconds: blocks as short as can be, the first of which warms up as well.
    times = time_steps(
        data,
        recipe,
        case.replicas,
        case.precision,
        blocks=Blocks(count=blocks, steps=2, calls=2),
        calls=calls,
    )
    return summaries(times)


def parts_of_cifar10c_run(data: ImageData, case: Case, steps: int) -> Parts:
    """Where the time of a run goes; needs an active MLflow run."""
    recipe = published_recipe("cifar10c", case.method)
    parts = measure_parts(
        data, recipe, case.replicas, case.precision, steps=steps, evaluations=1, warm_up=1
    )
    return parts.with_evaluation_times(CIFAR10C_EVALUATION_FACTOR)
