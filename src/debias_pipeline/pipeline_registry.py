"""Register the pipelines."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from debias_pipeline.methods import method_names
from debias_pipeline.names import GRID_PIPELINES
from debias_pipeline.pipelines import (
    audit,
    evaluation,
    ingestion,
    predict,
    reporting,
    training,
    tune,
)

# The methods that `kedro run` trains and compares, the baseline first.
DEFAULT_METHODS = ("vanilla", "disent")

# The method whose networks published checkpoint files contain.
PUBLISHED_METHOD = "disent"

# Their parts depend on what is trained.
PIPELINES_OF_TRAINED = ("evaluation", "reporting")


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name; for `kedro run`, only those that it was asked for.

    The pipeline named like a method runs all its stages; `ingestion`, `training`, `evaluation` and
    `reporting` run one stage on existing results.
    """
    data = ingestion.create_pipeline()
    creators: dict[str, Callable[[], Pipeline]] = {
        "__default__": partial(_all_stages, DEFAULT_METHODS),
        "audit": lambda: data + audit.create_pipeline(),
        "ingestion": lambda: data,
        "predict": predict.create_pipeline,
        "training": partial(_of_each, training.create_pipeline, DEFAULT_METHODS),
        "evaluation": partial(_of_each, evaluation.create_pipeline, DEFAULT_METHODS),
        "reporting": partial(_reporting, DEFAULT_METHODS),
        "tune": lambda: data + tune.create_pipeline(),
        # `PreflightHooks` adds the trials, as they depend on the parameters.
        **dict.fromkeys(GRID_PIPELINES, partial(Pipeline, [])),
        **{method: partial(_all_stages, [method]) for method in method_names()},
    }
    return {name: create() for name, create in creators.items() if is_requested(name)}


def is_requested(*names: str) -> bool:
    """Return whether `kedro run` was asked for one of these pipelines, or nothing is known of it.

    To create all pipelines and validate their parameters takes a fifth of the start of a run.
    """
    # As Kedro's `find_pipelines`, which finds pipelines by their folders. There is no public name;
    # Kedro's version is pinned.
    requested = pipelines._requested_pipelines
    return requested is None or not set(names).isdisjoint(requested)


def pipelines_of_trained(methods: Iterable[str]) -> dict[str, Pipeline]:
    """Return the pipelines that evaluate trained methods and report on them.

    Args:
        methods: the trained methods.
    """
    methods = baseline_first(methods)
    return {
        "evaluation": _of_each(evaluation.create_pipeline, methods),
        "reporting": _reporting(methods),
    }


def baseline_first(methods: Iterable[str]) -> list[str]:
    """Sort methods, or names in their namespaces: the baseline first, then by name."""
    return sorted(methods, key=lambda name: (name.split(".")[0] != DEFAULT_METHODS[0], name))


def pipelines_of_pretrained(trained: Iterable[str], *, has_data: bool) -> dict[str, Pipeline]:
    """Return the pipelines that evaluate published networks instead of trained ones.

    Args:
        trained: methods with results on the same data, with which the networks are compared.
        has_data: whether the data set exists; otherwise the pipeline makes it.
    """
    published, owner = evaluation.PRETRAINED, {evaluation.PRETRAINED: PUBLISHED_METHOD}
    parts = [
        evaluation.create_pretrained_pipeline(PUBLISHED_METHOD),
        reporting.create_pipeline(published, parameters_of=PUBLISHED_METHOD),
    ]
    if not has_data:
        parts.append(ingestion.create_pipeline())
    if methods := baseline_first(trained):
        parts.append(reporting.create_comparison([*methods, published], owner))
    return {"evaluation": Pipeline(parts)}


def _of_each(create: Callable[[str], Pipeline], methods: Iterable[str]) -> Pipeline:
    return Pipeline([*map(create, methods)])


def _all_stages(methods: Iterable[str]) -> Pipeline:
    methods = baseline_first(methods)
    stages = (training.create_pipeline, evaluation.create_pipeline)
    parts = [create(method) for method in methods for create in stages]
    return Pipeline([ingestion.create_pipeline(), *parts, _reporting(methods)])


def _reporting(methods: Sequence[str]) -> Pipeline:
    reports = [*map(reporting.create_pipeline, methods)]
    return Pipeline(
        [*reports, reporting.create_comparison(methods)] if len(methods) > 1 else reports
    )
