"""The reporting pipeline."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.pipelines.reporting.nodes import (
    compare,
    draw_comparison,
    draw_figures,
    report,
)


def create_pipeline(method: str, parameters_of: str | None = None) -> Pipeline:
    """Return the pipeline that draws the figures of a method and writes its report.

    Args:
        method: the namespace.
        parameters_of: the method whose recipe and published accuracies are shown; needed if the
            namespace is not a method.
    """
    owner = parameters_of or method
    reporting = pipeline(
        [
            node(
                draw_figures,
                inputs=[
                    "metrics",
                    "history",
                    "sample_weights",
                    "group_accuracy",
                    "images",
                    "manifest",
                    "data_card",
                ],
                outputs="figures",
                name="draw_figures",
            ),
            node(
                report,
                inputs=[
                    "metrics",
                    "figures",
                    "data_figures",
                    "group_accuracy",
                    "manifest",
                    "data_card",
                    "training_record",
                    "params:recipe",
                    "params:typed",
                    "params:published_accuracy",
                ],
                outputs="report",
                name="report",
            ),
        ]
    )
    return pipeline(
        reporting,
        namespace=method,
        inputs={"images", "manifest", "data_card", "data_figures"},
        parameters={
            "params:typed": "params:typed",
            **{
                f"params:{name}": f"params:{owner}.{name}"
                for name in ("recipe", "published_accuracy")
            },
        },
        tags=["reporting"],
    )


def create_comparison(methods: Sequence[str]) -> Pipeline:
    """Return the pipeline that draws comparison figures and writes the comparison report.

    Args:
        methods: their namespaces, the baseline first.
    """
    return pipeline(
        [
            node(
                draw_comparison,
                inputs={
                    "manifest": "manifest",
                    "data_card": "data_card",
                    **_of_each(methods, "metrics", "history", "group_accuracy"),
                },
                outputs="comparison_figures",
                name="draw_comparison",
            ),
            node(
                compare,
                inputs={
                    "figures": "comparison_figures",
                    "data_card": "data_card",
                    "typed": "params:typed",
                    **_of_each(
                        methods,
                        *("metrics", "training_record"),
                        *("params:recipe", "params:published_accuracy"),
                    ),
                },
                outputs="comparison_report",
                name="compare",
            ),
        ],
        tags=["reporting"],
    )


def _of_each(methods: Sequence[str], *names: str) -> dict[str, str]:
    """Return node inputs: argument `<what>_<method>` → dataset name, for every method."""
    inputs = {}
    for name in names:
        kind, _, what = name.rpartition(":")
        for method in methods:
            inputs[f"{what}_{method}"] = f"{kind}:{method}.{what}" if kind else f"{method}.{what}"
    return inputs
