"""Nodes of the reporting pipeline: draw figures and write HTML reports."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.evaluation import first_suspects
from debias_pipeline.methods import get_method
from debias_pipeline.pipelines.evaluation import PRETRAINED
from debias_pipeline.pipelines.reporting.results import method_result
from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.records import DataCard, LabelEstimates, Metrics, TrainingRecord
from debias_pipeline.reporting import (
    MethodSections,
    comparison_charts,
    confusions,
    data_command,
    draw_comparison_figures,
    draw_figures,
    feature_section,
    method_charts,
    misclassified,
    suspect_section,
    with_shown_name,
    write_comparison_report,
    write_method_report,
)

__all__ = ["compare", "draw_comparison", "draw_figures", "report"]


def report(
    metrics: Metrics,
    figures: dict[str, str],
    data_figures: dict[str, str],
    group_accuracy: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: DataCard,
    training_record: TrainingRecord,
    recipe: dict[str, Any],
    replaced_defaults: dict[str, Any],
    typed: dict[str, Any],
    published_accuracy: list[PublishedAccuracy],
    history: pd.DataFrame,
    sample_weights: pd.DataFrame,
    predictions: pd.DataFrame,
    images: npt.NDArray[np.uint8],
    mlflow_ui: str,
    suspects: pd.DataFrame | None = None,
    saliency: dict[str, Any] | None = None,
    label_estimates: LabelEstimates | None = None,
    feature_map: dict[str, Any] | None = None,
) -> tuple[str, dict[str, str]]:
    """Write the HTML report of one method, and its tables as files.

    The last four arguments are given if the method ranks images.
    """
    namespace = PRETRAINED if training_record.get("pretrained") else metrics["method"]
    result = method_result(
        namespace,
        typed,
        data_card,
        metrics=metrics,
        training_record=training_record,
        recipe=recipe,
        replaced_defaults=replaced_defaults,
        published_accuracy=published_accuracy,
    )
    section = None
    if suspects is not None and saliency is not None and label_estimates is not None:
        first = first_suspects(suspects, manifest)
        section = suspect_section(
            suspects, images, manifest, data_card, saliency, first, label_estimates
        )
    weight_name = get_method(metrics["method"]).weight_name
    return write_method_report(
        result,
        {**figures, **data_figures},
        method_charts(metrics, history, sample_weights, weight_name, group_accuracy, data_card),
        group_accuracy,
        manifest,
        data_card,
        MethodSections(
            confusions(predictions, manifest, data_card),
            misclassified(predictions, images, manifest, data_card),
            section,
            weight_name,
            feature_section(feature_map, images, manifest, data_card) if feature_map else None,
        ),
        mlflow_ui,
    )


def draw_comparison(
    manifest: pd.DataFrame, data_card: DataCard, **of_methods: Any
) -> dict[str, str]:
    """Draw figures that compare several methods; return name → SVG.

    Args:
        manifest: manifest of the data set.
        data_card: data card of the data set.
        of_methods: metrics, history and group_accuracy of each method, as `<entry>_<namespace>`,
            the baseline first.
    """
    return draw_comparison_figures(
        _metrics(of_methods),
        _per_method(of_methods, "history"),
        _per_method(of_methods, "group_accuracy"),
        manifest,
        data_card,
    )


def compare(
    figures: dict[str, str],
    data_card: DataCard,
    typed: dict[str, Any],
    mlflow_ui: str,
    **of_methods: Any,
) -> tuple[str, dict[str, str]]:
    """Write the HTML report that compares several methods, and its tables as files.

    Args:
        figures: figures of `draw_comparison`.
        data_card: data card of the data set.
        typed: parameters that a command needs to repeat the run, see
            `parameters.typed_parameters`.
        mlflow_ui: address of MLflow's pages, to which the page links; "" makes no link.
        of_methods: metrics, history, training_record, recipe, replaced_defaults and
            published_accuracy of each method, as `<entry>_<namespace>`, the baseline first.
    """
    entries = ("metrics", "training_record", "recipe", "replaced_defaults", "published_accuracy")
    results = [
        method_result(
            name, typed, data_card, **{entry: of_methods[f"{entry}_{name}"] for entry in entries}
        )
        for name in _namespaces(of_methods)
    ]
    # The evaluation of published networks writes this comparison, too.
    is_pretrained = any(each.record.get("pretrained") for each in results)
    return write_comparison_report(
        results,
        figures,
        comparison_charts(_metrics(of_methods), _per_method(of_methods, "history")),
        data_card,
        "" if is_pretrained else data_command("reporting", typed),
        mlflow_ui,
    )


def _metrics(of_methods: Mapping[str, Any]) -> list[Metrics]:
    """Return the metrics of every method, with the names that the page shows."""
    return [
        with_shown_name(of_methods[f"metrics_{namespace}"], namespace)
        for namespace in _namespaces(of_methods)
    ]


def _per_method(of_methods: Mapping[str, Any], entry: str) -> dict[str, Any]:
    """Return shown name of the method → value, for the arguments `<entry>_<namespace>`."""
    values = [of_methods[f"{entry}_{namespace}"] for namespace in _namespaces(of_methods)]
    names = (metrics["method"] for metrics in _metrics(of_methods))
    return dict(zip(names, values, strict=True))


def _namespaces(of_methods: Mapping[str, Any]) -> list[str]:
    prefix = "metrics_"
    return [key.removeprefix(prefix) for key in of_methods if key.startswith(prefix)]
