"""What reports and the terminal show of a method, from its catalog entries and parameters."""

from collections.abc import Mapping
from typing import Any

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.records import DataCard, Metrics, TrainingRecord
from debias_pipeline.reporting import (
    MethodResult,
    RecipeChange,
    find_recipe_changes,
    run_command,
    with_shown_name,
)


def method_result(
    namespace: str,
    typed: dict[str, Any],
    data_card: DataCard,
    *,
    metrics: Metrics,
    training_record: TrainingRecord,
    recipe: dict[str, Any],
    replaced_defaults: dict[str, Any],
    published_accuracy: list[PublishedAccuracy],
) -> MethodResult:
    """Return what reports show of a method.

    Args:
        namespace: of the method's catalog entries.
        typed: see `parameters.typed_parameters`.
        data_card: data card of the data set.
        metrics: catalog entry of the method.
        training_record: catalog entry of the method; may be empty.
        recipe: parameters of the method.
        replaced_defaults: see `recipes.resolve_method`.
        published_accuracy: accuracies published in papers.
    """
    used = training_record.get("recipe", {})
    recipe_changes = find_recipe_changes(used, {**recipe, **replaced_defaults})
    # Options of the data matter to published accuracies only.
    options = typed if published_accuracy else {}
    return MethodResult(
        with_shown_name(metrics, namespace),
        training_record,
        published_accuracy,
        [*recipe_changes, *data_changes(data_card["dataset"], options)],
        run_command(_pipeline(training_record), typed, training_record, recipe_changes)
        if used
        else "",
    )


def _pipeline(record: TrainingRecord) -> str:
    """Return the name of the pipeline that makes the results of a method."""
    return "evaluation" if record.get("pretrained") else str(record["recipe"]["method"])


def data_changes(dataset: str, options: Mapping[str, Any]) -> list[RecipeChange]:
    """Return the options of a data set that are not at their defaults.

    Args:
        dataset: name of the data set.
        options: by name; other names are ignored.
    """
    fields = get_dataset(dataset).options_type.model_fields
    return [
        RecipeChange(name, field.default, options[name])
        for name, field in fields.items()
        if name in options and options[name] != field.default
    ]
