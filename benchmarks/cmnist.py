"""Training steps on data of Colored MNIST's shape, and the matrix products that they need."""

from benchmarks.alone import all_products, first_layer_products
from benchmarks.cases import Case
from benchmarks.parts import Parts, measure_parts
from benchmarks.real_steps import summaries, time_steps
from benchmarks.steps import cmnist_like_data, published_recipe, untrained
from benchmarks.timing import Timing
from debias_pipeline.evaluation import ImageData

__all__ = ["cmnist_like_data", "measure_cmnist_step", "parts_of_cmnist_run"]


def measure_cmnist_step(data: ImageData, case: Case, rounds: int) -> dict[str, Timing]:
    """Times of `step`, the whole of it, of `alone`, its largest products, and of `all_products`."""
    recipe = published_recipe("cmnist", case.method)
    method = untrained(data, recipe, case.replicas)
    calls = {
        "alone": first_layer_products(method, case.precision),
        "all_products": all_products(method, case.precision),
    }
    times = time_steps(
        data, recipe, case.replicas, case.precision, rounds=rounds, warm_up=10, calls=calls
    )
    return summaries(times)


def parts_of_cmnist_run(data: ImageData, case: Case, steps: int) -> Parts:
    """Where the time of a run goes; needs an active MLflow run."""
    recipe = published_recipe("cmnist", case.method)
    return measure_parts(
        data, recipe, case.replicas, case.precision, steps=steps, evaluations=1, warm_up=10
    )
