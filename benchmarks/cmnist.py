"""Training steps on data of Colored MNIST's shape, and the matrix products that they need."""

from benchmarks.alone import products
from benchmarks.cases import Case
from benchmarks.parts import Parts, measure_parts
from benchmarks.real_steps import Blocks, summaries, time_steps
from benchmarks.steps import cmnist_like_data, published_recipe, untrained
from benchmarks.timing import Timing
from debias_pipeline.images import ImageData

__all__ = ["cmnist_like_data", "measure_cmnist_step", "parts_of_cmnist_run"]


def measure_cmnist_step(data: ImageData, case: Case, blocks: int) -> dict[str, Timing]:
    """Times of `step`, the whole of it, and of `alone`, the products of its encoders."""
    recipe = published_recipe("cmnist", case.method)
    calls = {"alone": products(untrained(data, recipe, case.replicas), case.precision)}
    times = time_steps(
        data,
        recipe,
        case.replicas,
        case.precision,
        blocks=Blocks(count=blocks, steps=20, calls=5),
        warm_up=10,
        calls=calls,
    )
    return summaries(times)


def parts_of_cmnist_run(data: ImageData, case: Case, steps: int) -> Parts:
    """Where the time of a run goes; needs an active MLflow run."""
    recipe = published_recipe("cmnist", case.method)
    return measure_parts(
        data, recipe, case.replicas, case.precision, steps=steps, evaluations=1, warm_up=10
    )
