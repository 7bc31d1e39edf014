"""Register the pipelines."""

from collections.abc import Iterable

from kedro.pipeline import Pipeline

from debias_pipeline.grid import create_pipelines
from debias_pipeline.methods import method_names
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


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name.

    The pipeline named like a method runs all its stages; `ingestion`, `training`, `evaluation` and
    `reporting` run one stage on existing results.
    """
    data = ingestion.create_pipeline()
    return {
        "__default__": data + _all_stages(DEFAULT_METHODS),
        "audit": data + audit.create_pipeline(),
        "ingestion": data,
        "predict": predict.create_pipeline(),
        "tune": data + tune.create_pipeline(),
        "training": _sum(map(training.create_pipeline, DEFAULT_METHODS)),
        **pipelines_of_trained(DEFAULT_METHODS),
        # The trials are added by `PreflightHooks`, as they depend on the parameters.
        **create_pipelines([]),
        **{method: data + _all_stages([method]) for method in method_names()},
    }


def pipelines_of_trained(methods: Iterable[str]) -> dict[str, Pipeline]:
    """Return the pipelines that evaluate trained methods and report on them.

    Args:
        methods: the trained methods.
    """
    methods = baseline_first(methods)
    return {
        "evaluation": _sum(map(evaluation.create_pipeline, methods)),
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
    return {"evaluation": _sum(parts)}


def _all_stages(methods: Iterable[str]) -> Pipeline:
    methods = baseline_first(methods)
    stages = (training.create_pipeline, evaluation.create_pipeline)
    return _sum(create(method) for method in methods for create in stages) + _reporting(methods)


def _reporting(methods: list[str]) -> Pipeline:
    reports = _sum(map(reporting.create_pipeline, methods))
    return reports + reporting.create_comparison(methods) if len(methods) > 1 else reports


def _sum(parts: Iterable[Pipeline]) -> Pipeline:
    return sum(parts, Pipeline([]))
