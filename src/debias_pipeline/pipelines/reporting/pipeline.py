"""The reporting pipeline, created once per method, and the comparison of methods."""

from collections.abc import Mapping, Sequence

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.pipelines.evaluation import lists_suspects
from debias_pipeline.pipelines.reporting.nodes import (
    compare,
    draw_comparison,
    draw_figures,
    report,
)

_OF_SUSPECTS = ("suspects", "saliency", "label_estimates", "feature_map")


def create_pipeline(method: str, parameters_of: str | None = None) -> Pipeline:
    """Return the pipeline that draws the figures of a method and writes its report.

    Args:
        method: namespace of the pipeline, usually a method.
        parameters_of: method whose recipe and published accuracies are shown; needed if the
            namespace is not a method.
    """
    owner = parameters_of or method
    reporting = pipeline(
        [
            described_node(
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
            described_node(
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
                    "params:replaced_defaults",
                    "params:typed",
                    "params:published_accuracy",
                    "history",
                    "sample_weights",
                    "predictions",
                    "images",
                    "params:benchmark.mlflow_ui",
                    *(_OF_SUSPECTS if lists_suspects(method) else ()),
                ],
                outputs=["report", "tables"],
                name="report",
            ),
        ]
    )
    return pipeline(
        reporting,
        namespace=method,
        inputs={"images", "manifest", "data_card", "data_figures"},
        parameters={
            **{name: name for name in ("params:typed", "params:benchmark.mlflow_ui")},
            **{
                f"params:{name}": f"params:{owner}.{name}"
                for name in ("recipe", "replaced_defaults", "published_accuracy")
            },
        },
        tags=["reporting"],
    )


def create_comparison(
    methods: Sequence[str], parameters_of: Mapping[str, str] | None = None
) -> Pipeline:
    """Return the pipeline that draws comparison figures and writes the comparison report.

    Args:
        methods: namespaces of the methods, the baseline first.
        parameters_of: for a namespace that is not a method, the method whose recipe and published
            accuracies are shown.
    """
    owners = {**{method: method for method in methods}, **(parameters_of or {})}
    return pipeline(
        [
            described_node(
                draw_comparison,
                inputs={
                    "manifest": "manifest",
                    "data_card": "data_card",
                    **_inputs_of_methods(owners, "metrics", "history", "group_accuracy"),
                },
                outputs="comparison_figures",
                name="draw_comparison",
            ),
            described_node(
                compare,
                inputs={
                    "figures": "comparison_figures",
                    "data_card": "data_card",
                    "typed": "params:typed",
                    "mlflow_ui": "params:benchmark.mlflow_ui",
                    **_inputs_of_methods(
                        owners,
                        *("metrics", "history", "training_record"),
                        *("params:recipe", "params:replaced_defaults"),
                        "params:published_accuracy",
                    ),
                },
                outputs=["comparison_report", "comparison_tables"],
                name="compare",
            ),
        ],
        tags=["reporting"],
    )


def _inputs_of_methods(owners: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return node inputs: argument `<entry>_<namespace>` → dataset name, for every namespace.

    Args:
        owners: namespace → method that its parameters belong to.
        names: entries of every namespace.
    """
    inputs = {}
    for name in names:
        kind, _, entry = name.rpartition(":")
        for namespace, owner in owners.items():
            dataset = f"{kind}:{owner}.{entry}" if kind else f"{namespace}.{entry}"
            inputs[f"{entry}_{namespace}"] = dataset
    return inputs
