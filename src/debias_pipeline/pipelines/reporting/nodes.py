"""Nodes of the reporting pipeline: draw figures and write HTML reports."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.evaluation import first_suspects
from debias_pipeline.methods import get_method
from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.records import DataCard, LabelEstimates, Metrics, TrainingRecord
from debias_pipeline.reporting import (
    RecipeChange,
    data_command,
    default_recipe,
    draw_comparison_figures,
    draw_figures,
    find_recipe_changes,
    run_command,
    suspect_section,
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
    images: npt.NDArray[np.uint8] | None = None,
    suspects: pd.DataFrame | None = None,
    saliency: dict[str, Any] | None = None,
    label_estimates: LabelEstimates | None = None,
) -> str:
    """Write the HTML report of one method.

    The last four arguments are given if the method ranks images.
    """
    pipeline = "evaluation" if training_record.get("pretrained") else metrics["method"]
    recipe_changes = _recipe_changes(training_record, recipe, replaced_defaults)
    section = None
    if (
        images is not None
        and suspects is not None
        and saliency is not None
        and label_estimates is not None
    ):
        first = first_suspects(suspects, manifest)
        section = suspect_section(
            suspects, images, manifest, data_card, saliency, first, label_estimates
        )
    return write_method_report(
        metrics,
        {**figures, **data_figures},
        group_accuracy,
        manifest,
        data_card,
        training_record["recipe"],
        run_command(pipeline, typed, training_record, recipe_changes),
        published_accuracy,
        [*recipe_changes, *_data_changes(data_card, typed, published_accuracy)],
        section,
        get_method(metrics["method"]).weight_name,
    )


def _recipe_changes(
    record: TrainingRecord, recipe: dict[str, Any], replaced_defaults: dict[str, Any]
) -> list[RecipeChange]:
    return find_recipe_changes(record["recipe"], default_recipe(recipe, replaced_defaults))


def _data_changes(
    data_card: DataCard, typed: Mapping[str, Any], published: list[PublishedAccuracy]
) -> list[RecipeChange]:
    """Return the options of the data that differ from those of published accuracies."""
    options = get_dataset(data_card["dataset"]).options_type.model_fields if published else {}
    return [
        RecipeChange(name, field.default, typed[name])
        for name, field in options.items()
        if name in typed
    ]


def draw_comparison(
    manifest: pd.DataFrame, data_card: DataCard, **of_methods: Any
) -> dict[str, str]:
    """Draw figures that compare several methods; return name → SVG.

    Args:
        manifest: manifest of the data set.
        data_card: data card of the data set.
        of_methods: metrics, history and group_accuracy of each method, as `<entry>_<method>`, the
            baseline first.
    """
    return draw_comparison_figures(
        list(_per_method(of_methods, "metrics").values()),
        _per_method(of_methods, "history"),
        _per_method(of_methods, "group_accuracy"),
        manifest,
        data_card,
    )


def compare(
    figures: dict[str, str], data_card: DataCard, typed: dict[str, Any], **of_methods: Any
) -> str:
    """Write the HTML report that compares several methods.

    Args:
        figures: figures of `draw_comparison`.
        data_card: data card of the data set.
        typed: parameters that a command needs to repeat the run, see
            `parameters.typed_parameters`.
        of_methods: metrics, training_record, recipe, replaced_defaults and published_accuracy of
            each method, as `<entry>_<method>`, the baseline first.
    """
    recipes = _per_method(of_methods, "recipe")
    replaced_defaults = _per_method(of_methods, "replaced_defaults")
    published = _per_method(of_methods, "published_accuracy")
    records: dict[str, TrainingRecord] = _per_method(of_methods, "training_record")
    changes_of = {
        method: _recipe_changes(record, recipes[method], replaced_defaults[method])
        for method, record in records.items()
    }
    commands = [
        run_command(method, typed, record, changes_of[method]) for method, record in records.items()
    ]
    return write_comparison_report(
        list(_per_method(of_methods, "metrics").values()),
        figures,
        [*commands, data_command("reporting", typed)],
        data_card,
        published,
        {
            method: [*changed, *_data_changes(data_card, typed, published[method])]
            for method, changed in changes_of.items()
        },
    )


def _per_method(of_methods: Mapping[str, Any], entry: str) -> dict[str, Any]:
    """Return method → value for the arguments `<entry>_<method>`."""
    prefix = f"{entry}_"
    return {
        key.removeprefix(prefix): value
        for key, value in of_methods.items()
        if key.startswith(prefix)
    }
