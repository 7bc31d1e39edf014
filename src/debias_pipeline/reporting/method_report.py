"""The HTML report of one method."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

import pandas as pd

from debias_pipeline.intervals import wilson
from debias_pipeline.names import BIAS_BRANCH_ACCURACY
from debias_pipeline.published import PublishedAccuracy, source_in_words
from debias_pipeline.records import DataCard, Evidence, Metrics, TrainingRecord
from debias_pipeline.reporting.conditions import bias_labels_text, cost_in_words
from debias_pipeline.reporting.index_page import about_methods
from debias_pipeline.reporting.metric_table import (
    AUROC,
    attribute_metrics,
    attribute_rows,
    auroc_cell,
    last_step,
    metric_row,
    metrics_with_headline_first,
)
from debias_pipeline.reporting.pages import (
    NO_BIAS_LABELS,
    FigureText,
    data_section,
    figure_blocks,
    recipe_banner,
    render,
    shared_bias_in_words,
)
from debias_pipeline.reporting.plots import groups_of_last_step
from debias_pipeline.reporting.recipe_changes import RecipeChange
from debias_pipeline.reporting.suspect_section import SuspectSection
from debias_pipeline.reporting.text import (
    DASH,
    attribute_name,
    evidence_text,
    interval_text,
    mean_and_std,
    percentage,
    percentage_over_seeds,
)
from debias_pipeline.selection_rules import SELECTION_RULES

BIAS_BRANCH: Final = (
    "The bias branch is the part of a method that is trained to learn the bias. Predictions are "
    "made without it, so its accuracy shows what can be reached with the bias alone. If it is near "
    "the fraction of bias-aligned images, the branch has learned little but the bias; if it is far "
    "higher, the branch uses other features, too, and is less suited to detect bias-conflicting "
    "images."
)
_MOST_GROUPS: Final = 400
_NO_WEIGHTS: Final = "Left out: this run has no weights of training images."
FIGURE_TEXTS: Final[Mapping[str, FigureText]] = {
    "learning_curves": FigureText(
        "Learning curves",
        "Solid lines are the test split, thin dashed lines the validation split. On a split that "
        "is as biased as the training split, a model that learned the shortcut has a high "
        "accuracy. Stars mark the best step on the test set, which must not be used for selection.",
        "Line chart of the accuracy on all, bias-aligned and bias-conflicting images against step",
        "Left out: there is no history.",
    ),
    "group_heat_map": FigureText(
        "Accuracy by group",
        "Accuracy (%) of the last step by label and bias, mean over seeds; darker is "
        "better. Bias-aligned groups have a blue outline; a dash is a group without test "
        "images. If only the outlined group of a column is dark, the model mistakes this bias "
        "attribute for the label. Accuracies of small groups vary by chance: the table of groups "
        "has the number of images and an interval.",
        "Heat map of accuracy by label (rows) and bias (columns)",
        NO_BIAS_LABELS,
    ),
    "weight_histogram": FigureText(
        "Weights of the training images",
        "The method gives high weights to images that seem bias-conflicting. If bias labels are "
        "known, there are two histograms: the less they overlap, the better the method detected "
        "the bias-conflicting images.",
        "Histogram of the weights of bias-aligned and bias-conflicting training images",
        _NO_WEIGHTS,
    ),
    "most_conflicting": FigureText(
        "Training images of the highest weight",
        "Ordered by weight (mean over seeds), highest first. If the bias is not known, look for "
        "what distinguishes these images from others of their label: they may lack the shortcut.",
        "Grid of the training images with the highest weights",
        _NO_WEIGHTS,
    ),
    "sample_grid": FigureText(
        "Training images",
        "A random sample by label (columns); below each image is its bias attribute, if known.",
        "Grid of training images by label, bias-aligned ones above bias-conflicting ones",
        "Left out: the training split is empty.",
    ),
    "loss_curves": FigureText(
        "Loss terms",
        "The total loss, and the terms that the method reports separately, if any.",
        "Line chart of the loss terms against step",
        "Left out: there are no losses in the history.",
    ),
    "contact_sheet": FigureText(
        "How the bias was made",
        "A few images with every value of the bias attribute (rows). Columns: images at every "
        "strength of the bias, of which the origin of the data says the one of this set; other "
        "digits; or every value of the other bias attribute.",
        "Grid of example images by bias attribute (rows) and strength, digit or another attribute "
        "(columns)",
        "",
    ),
}


def write_method_report(
    metrics: Metrics,
    figures: Mapping[str, str],
    group_accuracy: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: DataCard,
    recipe: Mapping[str, Any],
    command: str,
    published_accuracy: Sequence[PublishedAccuracy] = (),
    recipe_changes: Sequence[RecipeChange] = (),
    suspects: SuspectSection | None = None,
    weight_name: str = "",
    record: TrainingRecord | None = None,
) -> str:
    """Return one method's report, an HTML page that loads no other files.

    Args:
        metrics: metrics of the method.
        figures: SVG text or `data:` addresses by name, from `draw_figures`.
        group_accuracy: a row per selection rule, seed, label and bias; may be empty.
        manifest: manifest of the data set.
        data_card: data card of the data set.
        recipe: hyper-parameters by name.
        command: reproduces the results, see `run_command`.
        published_accuracy: accuracies published in papers; the table shows the first one.
        suspects: the section about suspicious images; None if the method does not rank images.
        weight_name: what the method calls the weight of an image.
        record: record of the training run, for its cost.
    """
    groups = _group_rows(group_accuracy, manifest, data_card)
    shown = published_accuracy[0] if published_accuracy else None
    return render(
        "method_report.html.jinja",
        about=about_methods(metrics["method"], [metrics]),
        metrics=metrics,
        columns=metrics_with_headline_first(metrics["headline"], metrics.get("unbiased_test")),
        rows=[
            (
                rule,
                metric_row(
                    metrics,
                    rule,
                    data_card,
                    shown,
                    published_column=shown is not None,
                    comparable=not recipe_changes,
                ),
            )
            for rule in SELECTION_RULES.values()
        ],
        published=[source_in_words(shown)] if shown else [],
        all_published=[
            (percentage(each["accuracy"], 2), source_in_words(each)) for each in published_accuracy
        ],
        attribute_columns=attribute_metrics(),
        attribute_rows=attribute_rows([metrics]),
        auroc=auroc_cell(metrics, data_card),
        auroc_explained=AUROC,
        bias_branch=_bias_branch_in_words(metrics, data_card),
        bias_branch_explained=BIAS_BRANCH,
        figures=figure_blocks(FIGURE_TEXTS, figures),
        groups=groups[:_MOST_GROUPS],
        groups_in_all=len(groups),
        recipe={
            key: value if isinstance(value, str) else json.dumps(value, default=str)
            for key, value in recipe.items()
        },
        command=command,
        suspects=suspects,
        weight_name=weight_name,
        bias_labels=bias_labels_text(metrics.get("bias_labels")),
        cost=cost_in_words(record or {}),
        recipe_banner=recipe_banner(
            {metrics["method"]: recipe_changes}, {metrics["method"]} if shown else set()
        ),
        **data_section([metrics], data_card),
    )


def _bias_branch_in_words(metrics: Metrics, data_card: DataCard) -> str:
    """Compare the bias branch with a classifier that uses only the bias; "" without a branch."""
    # Metrics of earlier versions lack the key.
    values = last_step(metrics).get(BIAS_BRANCH_ACCURACY)
    text = percentage_over_seeds(values)
    if values is None or values["mean"] is None:
        return ""
    images = data_card["splits"]["test"]["images"]
    low, high = wilson(values["mean"], images)
    evidence: Evidence = {"images": images, "low": low, "high": high}
    if count := evidence_text(BIAS_BRANCH_ACCURACY, values, evidence):
        text += f" ({count})"
    finding = f"At the last step the bias branch gets {text} of the test images right"
    conflicting = data_card["splits"]["test"]["conflicting_fraction"]
    if conflicting is None:
        return f"{finding}."
    if shared_bias_in_words(data_card):
        return f"{finding}."
    return (
        f"{finding}; a classifier that uses only the bias gets {percentage(1 - conflicting)} "
        "right, the bias-aligned ones."
    )


class _GroupRow(TypedDict):
    label: str
    bias: str
    kind: str
    images: str
    train_images: str
    accuracy: str
    interval: str


def _group_rows(
    group_accuracy: pd.DataFrame, manifest: pd.DataFrame, data_card: DataCard
) -> list[_GroupRow]:
    """Return the groups at the last step, the worst first, those without images at the end."""
    if group_accuracy.empty:
        return []
    last = groups_of_last_step(group_accuracy)
    groups = last.groupby(["label", "bias"]).agg(
        images=("images", "max"), mean=("accuracy", "mean"), std=("accuracy", "std")
    )
    flags = manifest.assign(conflicting=manifest["conflicting"].astype("boolean"))
    conflicting = flags.groupby(["label", "bias"])["conflicting"].first().to_dict()
    train = manifest[manifest["split"] == "train"].groupby(["label", "bias"]).size().to_dict()
    rows: list[_GroupRow] = []
    groups = groups.sort_values("mean", kind="stable", na_position="last")
    for (label, bias), group in zip(groups.index.tolist(), groups.to_dict("records"), strict=True):
        mean, std = (None if pd.isna(group[key]) else group[key] for key in ("mean", "std"))
        flag = conflicting.get((label, bias))
        known_kind = "conflicting" if flag else "aligned"
        rows.append(
            {
                "label": attribute_name(data_card, "label", label),
                "bias": attribute_name(data_card, "bias", bias),
                "kind": DASH if flag is None or pd.isna(flag) else known_kind,
                "images": f"{group['images']:,.0f}",
                "train_images": f"{train.get((label, bias), 0):,}",
                "accuracy": DASH if mean is None else f"{mean_and_std(mean, std)} %",
                "interval": ""
                if mean is None
                else interval_text(*wilson(mean, int(group["images"]))),
            }
        )
    return rows
