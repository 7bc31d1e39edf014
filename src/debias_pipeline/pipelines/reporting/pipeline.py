"""Wiring of reporting."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.pipelines.reporting.nodes import compare, draw_figures, report

COMPARED = ("metrics", "history", "group_accuracy", "params:published_accuracy")


def create_pipeline(method: str) -> Pipeline:
    """Metrics, history, weights → figures → report of a method.

    Args:
        method: the namespace.
    """
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
                    "history",
                    "group_accuracy",
                    "manifest",
                    "data_card",
                    "training_record",
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
        inputs={"images", "manifest", "data_card"},
        tags=["reporting"],
    )


def create_comparison(methods: Sequence[str]) -> Pipeline:
    """What the methods of a run left → the comparison report.

    Args:
        methods: their namespaces, the baseline first.
    """
    inputs = {"manifest": "manifest", "data_card": "data_card"}
    for what in COMPARED:
        kind, _, name = what.rpartition(":")
        for method in methods:
            inputs[f"{name}_{method}"] = f"{kind}:{method}.{name}" if kind else f"{method}.{name}"
    return pipeline(
        [node(compare, inputs=inputs, outputs="comparison_report", name="compare")],
        tags=["reporting"],
    )
