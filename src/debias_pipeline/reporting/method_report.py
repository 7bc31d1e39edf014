"""The report of one method."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from debias_pipeline.published import PublishedAccuracy, source_in_words
from debias_pipeline.reporting.cells import (
    Cell,
    auroc_cell,
    metric_cell,
    published_cell,
    step_cell,
    why_no_checkpoint,
)
from debias_pipeline.reporting.data_section import data_section
from debias_pipeline.reporting.figure_blocks import NO_BIAS_LABELS, FigureText, figure_blocks
from debias_pipeline.reporting.formatting import DASH, known, percentage, percentage_over_seeds
from debias_pipeline.reporting.names import full_attribute_name
from debias_pipeline.reporting.pages import render
from debias_pipeline.reporting.wording import (
    AUROC,
    BIAS_BRANCH,
    metrics_with_headline_first,
)
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule

_MOST_GROUPS = 400
_NO_WEIGHTS = "Left out: this method gives no weights to training images."
_CONTACT_SHEET = FigureText(
    "How the bias was made",
    "Every value of the bias attribute at every strength, for a few training images; the data "
    "card says which strength this set has.",
    "Grid of example images by bias attribute (rows) and strength (columns)",
    "",
)
_METHOD_FIGURES = {
    "learning_curves": FigureText(
        "Learning curves",
        "Solid lines are the test split, thin dashed lines the validation split. A split that is "
        "as biased as the training split flatters a model that learned the shortcut. "
        "Stars mark the best step on the test set, which no one may select by.",
        "Line chart of the accuracy on all, bias-aligned and bias-conflicting images against step",
        "Left out: there is no history.",
    ),
    "group_heat_map": FigureText(
        "Accuracy by group",
        "Accuracy (%) of the last step by label and bias, mean over seeds; darker is "
        "better. Bias-aligned groups have a blue outline; a dash is a group without test "
        "images. A column that is dark only "
        "where it is outlined is a bias attribute that the model takes for the label.",
        "Heat map of accuracy by label (rows) and bias (columns)",
        NO_BIAS_LABELS,
    ),
    "weight_histogram": FigureText(
        "Weights of the training images",
        "The method believes that images of high weight W go against the bias. The better the two "
        "histograms part, the better it found the bias-conflicting images without their labels.",
        "Histogram of the weight W of bias-aligned and bias-conflicting training images",
        _NO_WEIGHTS,
    ),
    "most_conflicting": FigureText(
        "The forty training images of the highest weight",
        "Ranked by W (mean over seeds), highest first. In data of unknown bias, look for what sets "
        "these images apart from others of their label: the shortcut is what they lack.",
        "Grid of the training images with the highest weight W",
        _NO_WEIGHTS,
    ),
    "sample_grid": FigureText(
        "Training images",
        "A random draw by label (columns); under each image is its bias attribute, where known.",
        "Grid of training images by label, bias-aligned ones above bias-conflicting ones",
        "Left out: the training split is empty.",
    ),
    "loss_curves": FigureText(
        "Loss terms",
        "The losses of the two branches before weighting with λ, as far as the method has them.",
        "Line chart of the loss terms against step",
        "Left out: the history holds no loss terms.",
    ),
    "contact_sheet": _CONTACT_SHEET,
}


def write_method_report(
    metrics: Mapping[str, Any],
    figures: Mapping[str, str],
    group_accuracy: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: Mapping[str, Any],
    recipe: Mapping[str, Any],
    command: str,
    published_accuracy: Sequence[PublishedAccuracy] = (),
) -> str:
    """Write one method's report.

    Args:
        metrics: the method's metrics; fractions in 0..1.
        figures: SVG text or `data:` addresses by name, from `draw_figures`.
        group_accuracy: a row per checkpoint, seed, label and bias; may be empty.
        manifest: tells which groups are bias-aligned.
        data_card: what is worth knowing about the data set.
        recipe: hyper-parameters by name.
        command: makes the results again, see `run_command`.
        published_accuracy: those of papers; the table shows the first.

    Returns:
        A whole HTML page that loads nothing.
    """
    groups = _group_rows(group_accuracy, manifest, data_card)
    shown = published_accuracy[0] if published_accuracy else None
    return render(
        "method_report.html.jinja",
        metrics=metrics,
        columns=metrics_with_headline_first(metrics["headline"], metrics.get("unbiased_test")),
        rows=_protocol_rows(metrics, data_card, shown),
        published=[source_in_words(shown)] if shown else [],
        all_published=[
            (percentage(each["accuracy"], 2), source_in_words(each)) for each in published_accuracy
        ],
        auroc=auroc_cell(metrics),
        auroc_explained=AUROC,
        bias_branch=_bias_branch_finding(metrics, data_card),
        bias_branch_explained=BIAS_BRANCH,
        figures=figure_blocks(_METHOD_FIGURES, figures),
        groups=groups[:_MOST_GROUPS],
        groups_in_all=len(groups),
        recipe={key: _plain(value) for key, value in recipe.items()},
        command=command,
        **data_section([metrics], data_card),
    )


def _protocol_rows(
    metrics: Mapping[str, Any], data_card: Mapping[str, Any], published: PublishedAccuracy | None
) -> list[tuple[SelectionRule, list[Cell]]]:
    return [
        (protocol, _cells(metrics, protocol, why_no_checkpoint(protocol, data_card), published))
        for protocol in SELECTION_RULES.values()
    ]


def _cells(
    metrics: Mapping[str, Any],
    protocol: SelectionRule,
    missing: str,
    published: PublishedAccuracy | None,
) -> list[Cell]:
    """Return a row: headline, published accuracy if there is one, other metrics, step."""
    checkpoint = metrics["checkpoints"].get(protocol.key)
    ordered = metrics_with_headline_first(metrics["headline"], metrics.get("unbiased_test"))
    cells = [metric_cell(checkpoint, metric, missing) for metric in ordered]
    if published is not None:
        cells.insert(1, published_cell(checkpoint, protocol, metrics["headline"], published))
    return [*cells, step_cell(checkpoint, missing)]


def _bias_branch_finding(metrics: Mapping[str, Any], data_card: Mapping[str, Any]) -> str:
    """What the bias branch gets, and what it would get by the bias alone; "" without a branch."""
    # Metrics of before bias branches were judged lack the key.
    summary = metrics["checkpoints"]["last"].get("bias_branch_accuracy")
    text = percentage_over_seeds(summary)
    if text == DASH:
        return ""
    finding = f"At the last step the bias branch gets {text} of the test images right"
    conflicting = known(data_card["splits"].get("test", {}).get("conflicting_fraction"))
    if conflicting is None:
        return f"{finding}."
    return (
        f"{finding}; a classifier that goes by the bias and nothing else gets "
        f"{percentage(1 - conflicting)}, the bias-aligned ones."
    )


def _group_rows(
    group_accuracy: pd.DataFrame, manifest: pd.DataFrame, data_card: Mapping[str, Any]
) -> list[dict[str, str]]:
    """The groups of the last step, the worst first, those without images at the end."""
    if group_accuracy.empty:
        return []
    last = group_accuracy[group_accuracy["checkpoint"] == "last"]
    last = last.astype({"accuracy": "float64"})
    groups = last.groupby(["label", "bias"]).agg(
        images=("images", "max"), mean=("accuracy", "mean"), std=("accuracy", "std")
    )
    flags = manifest.assign(conflicting=manifest["conflicting"].astype("boolean"))
    conflicting = flags.groupby(["label", "bias"])["conflicting"].first().to_dict()
    kinds = {True: "conflicting", False: "aligned"}
    rows = []
    groups = groups.sort_values("mean", kind="stable", na_position="last")
    for (label, bias), group in zip(groups.index.tolist(), groups.to_dict("records"), strict=True):
        flag = conflicting.get((label, bias))
        rows.append(
            {
                "label": full_attribute_name(data_card, "label", label),
                "bias": full_attribute_name(data_card, "bias", bias),
                "kind": DASH if flag is None or pd.isna(flag) else kinds[bool(flag)],
                "images": f"{group['images']:,.0f}",
                "accuracy": percentage_over_seeds({"mean": group["mean"], "std": group["std"]}),
            }
        )
    return rows


def _plain(value: Any) -> str:
    """A recipe's value as one would type it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
