"""The HTML report of one method."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import pandas as pd

from debias_pipeline.intervals import wilson
from debias_pipeline.names import BIAS_BRANCH_ACCURACY, Metric
from debias_pipeline.published import PublishedAccuracy, source_in_words
from debias_pipeline.records import DataCard, Evidence, Metrics
from debias_pipeline.reporting.conditions import bias_labels_text, cost_in_words
from debias_pipeline.reporting.figures.charts import MEAN, MOST_GROUPS, Chart
from debias_pipeline.reporting.figures.gallery import Gallery
from debias_pipeline.reporting.figures.plots import groups_of_bias
from debias_pipeline.reporting.metric_table import (
    AUROC,
    MethodResult,
    attribute_metrics,
    attribute_rows,
    auroc_cell,
    evidence_in_words,
    last_step,
    metric_row,
    metric_text,
    metrics_with_headline_first,
    published_sources,
    why_no_value,
)
from debias_pipeline.reporting.pages.by_seed import FIRST, Confusion, group_values
from debias_pipeline.reporting.pages.feature_section import FeatureSection
from debias_pipeline.reporting.pages.index_page import about_methods
from debias_pipeline.reporting.pages.page import (
    FigureText,
    data_section,
    figure_blocks,
    page_scripts,
    recipe_banner,
    render,
    shared_bias_in_words,
    switches,
)
from debias_pipeline.reporting.pages.provenance import provenance
from debias_pipeline.reporting.pages.suspect_section import SuspectSection
from debias_pipeline.reporting.table_files import accuracy_tables, group_table, write_table_files
from debias_pipeline.reporting.text import (
    DASH,
    attribute_name,
    evidence_text,
    percentage,
    percentage_over_seeds,
    points,
)
from debias_pipeline.selection_rules import SELECTION_RULES

BIAS_BRANCH: Final = (
    "The bias branch is the part of a method that is trained to learn the bias. Predictions are "
    "made without it, so its accuracy shows what can be reached with the bias alone. If it is near "
    "the fraction of bias-aligned images, the branch has learned little but the bias; if it is far "
    "higher, the branch uses other features, too, and is less suited to detect bias-conflicting "
    "images."
)
# Metric → its name in the first screen; "" is the one of tables.
_KEY_METRICS: Final[Mapping[Metric, str]] = {
    "accuracy": "",
    "conflicting_accuracy": "Against the bias (conflicting)",
    "aligned_accuracy": "With the bias (aligned)",
    "worst_group_accuracy": "Worst group",
}
FIGURE_TEXTS: Final[Mapping[str, FigureText]] = {
    "learning_curves": FigureText(
        "Learning curves",
        "Solid lines are the test split, thin dashed lines the validation split. On a split that "
        "is as biased as the training split, a model that learned the shortcut has a high "
        "accuracy. Diamonds mark the step that a rule selects; in print, stars mark the best step "
        "on the test set, which must not be used for selection.",
        "Line chart of the accuracy on all, bias-aligned and bias-conflicting images against step",
    ),
    "group_heat_map": FigureText(
        "Accuracy by group",
        "Accuracy (%) by label and bias, of the last step unless another selection rule is "
        "chosen. Bias-aligned groups have a blue outline; a dash is a group without test "
        "images. If only the outlined group of a column is accurate, the model mistakes this bias "
        "attribute for the label. Accuracies of small groups vary by chance: the table of groups "
        "has the number of images and an interval.",
        "Heat map of accuracy by label (rows) and bias (columns)",
    ),
    "weight_histogram": FigureText(
        "Weights of the training images",
        "The method gives high weights to images that seem bias-conflicting. If bias labels are "
        "known, there are two histograms: the less they overlap, the better the method detected "
        "the bias-conflicting images.",
        "Histogram of the weights of bias-aligned and bias-conflicting training images",
    ),
    "most_conflicting": FigureText(
        "Training images of the highest weight",
        "Ordered by weight (mean over seeds), highest first. If the bias is not known, look for "
        "what distinguishes these images from others of their label: they may lack the shortcut.",
        "Grid of the training images with the highest weights",
        has_photos=True,
    ),
    "sample_grid": FigureText(
        "Training images",
        "A random sample by label (columns); below each image is its bias attribute, if known.",
        "Grid of training images by label, bias-aligned ones above bias-conflicting ones",
        has_photos=True,
    ),
    "loss_curves": FigureText(
        "Loss terms",
        "The total loss, and the terms that the method reports separately, if any.",
        "Line chart of the loss terms against step",
    ),
    "contact_sheet": FigureText(
        "How the bias was made",
        "A few images with every value of the bias attribute (rows). Columns: images at every "
        "strength of the bias, of which the origin of the data says the one of this set; other "
        "digits; or every value of the other bias attribute.",
        "Grid of example images by bias attribute (rows) and strength, digit or another attribute "
        "(columns)",
        has_photos=True,
    ),
}


@dataclass(frozen=True)
class MethodSections:
    """Optional sections of a method's report.

    Attributes:
        confusion: from `confusions`.
        misclassified: None if there are no misclassified images.
        suspects: the section about suspicious images; None if the method does not rank images.
        weight_name: what the method calls the weight of an image.
        features: the section about features; None if there is nothing to show.
    """

    confusion: Sequence[Confusion] = ()
    misclassified: Gallery | None = None
    suspects: SuspectSection | None = None
    weight_name: str = ""
    features: FeatureSection | None = None


def write_method_report(
    result: MethodResult,
    figures: Mapping[str, str],
    charts: Mapping[str, Chart],
    group_accuracy: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: DataCard,
    sections: MethodSections,
    mlflow_ui: str = "",
) -> tuple[str, dict[str, str]]:
    """Return one method's report, an HTML page that loads no other files, and its tables as files.

    Args:
        result: result of the method.
        figures: SVG text by name, from `draw_figures`.
        charts: interactive charts that replace figures, from `method_charts`.
        group_accuracy: a row per selection rule, seed, label and bias; may be empty.
        manifest: manifest of the data set.
        data_card: data card of the data set.
        sections: the optional sections.
        mlflow_ui: address of MLflow's pages, to which the footer links; "" makes no link.

    Returns:
        The page, and text by name of files in the folder `tables` next to it.
    """
    metrics, published = result.metrics, published_sources([result])
    group_accuracy = groups_of_bias(group_accuracy)
    values = group_values(group_accuracy)
    groups = _group_rows(group_accuracy, manifest, data_card, values)
    charts = {name: chart for name, chart in charts.items() if name in figures}
    has_map = sections.features is not None and sections.features.figure is not None
    keys, trade = _key_values(metrics), trade_in_words(metrics, data_card)
    files = write_table_files(
        [
            *accuracy_tables([metrics]),
            *([group_table(group_accuracy, groups, data_card)] if groups else []),
        ]
    )
    page = render(
        "method_report.html.jinja",
        scripts=page_scripts(with_charts=bool(charts) or has_map),
        finding=trade,
        key_rows=_key_rows(metrics, keys),
        sections=sections,
        provenance=provenance([result], data_card, mlflow_ui),
        page_data={
            **switches([metrics]),
            "key": keys,
            "groups": _groups_for_page(groups[:MOST_GROUPS], values),
            "confusions": [each.counts for each in sections.confusion if each.has_matrix],
        },
        about=about_methods(metrics["method"], [metrics]),
        metrics=metrics,
        columns=metrics_with_headline_first(metrics["headline"], metrics.get("unbiased_test")),
        rows=[
            (rule, metric_row(result, rule, data_card, published_column=bool(published)))
            for rule in SELECTION_RULES.values()
        ],
        published=published,
        all_published=_all_published(result.published),
        attribute_columns=attribute_metrics(),
        attribute_rows=attribute_rows([metrics]),
        auroc=auroc_cell(metrics, data_card),
        auroc_explained=AUROC,
        bias_branch=_bias_branch_in_words(metrics, data_card),
        bias_branch_explained=BIAS_BRANCH,
        figures=figure_blocks(FIGURE_TEXTS, figures, charts, {"learning_curves": trade}),
        groups=groups[:MOST_GROUPS],
        groups_in_all=len(groups),
        recipe={
            key: value if isinstance(value, str) else json.dumps(value, default=str)
            for key, value in result.record.get("recipe", {}).items()
        },
        command=result.command,
        bias_labels=bias_labels_text(metrics.get("bias_labels")),
        cost=cost_in_words(result.record),
        recipe_banner=recipe_banner([result]),
        files=list(files),
        **data_section([metrics], data_card),
    )
    return page, files


def _all_published(published: Sequence[PublishedAccuracy]) -> list[tuple[str, str]]:
    """Return accuracies and source of each, or nothing if the table of metrics says it all."""
    found = []
    for each in published:
        average, text = each["average_accuracy"], percentage(each["accuracy"], 2)
        if average is not None:
            name = metric_text(each["metric"], None).name.lower()
            text = f"{name} {text}, average {percentage(average, 2)}"
        found.append((text, source_in_words(each)))
    says_more = len(found) > 1 or any(each["average_accuracy"] for each in published)
    return found if says_more else []


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


# --- First screen ---------------------------------------------------------------------------------


def trade_in_words(metrics: Metrics, data_card: DataCard) -> str:
    """Return the accuracy with and against the bias at the last step, in one sentence."""
    last, method = last_step(metrics), metrics["method"]
    aligned, conflicting = last["aligned_accuracy"]["mean"], last["conflicting_accuracy"]["mean"]
    if aligned is None or conflicting is None:
        text = f"{method} gets {percentage(last['accuracy']['mean'])} of the test images right"
        if data_card["splits"]["test"]["conflicting"] is None:
            return (
                f"{text}; how many of those that go against the bias is not known without bias "
                "labels."
            )
        missing: Metric = "aligned_accuracy" if aligned is None else "conflicting_accuracy"
        return f"{text}; {why_no_value(missing, data_card)}."
    sides: tuple[tuple[Metric, float], ...] = (
        ("conflicting_accuracy", conflicting),
        ("aligned_accuracy", aligned),
    )
    texts = [
        percentage(mean) + (f" ({count})" if count else "")
        for key, mean in sides
        for count in [evidence_in_words(last, key)]
    ]
    return (
        f"{method} gets {texts[0]} of the test images right that go against the bias and "
        f"{texts[1]} of those that go with it: {points(conflicting - aligned)} points."
    )


def _key_metrics(metrics: Metrics) -> list[Metric]:
    last = last_step(metrics)
    return [key for key in _KEY_METRICS if last[key]["mean"] is not None]


def _key_values(metrics: Metrics) -> dict[str, list[str]]:
    """Return the key metrics as text, by selection rule and seed; see `by_seed`."""
    values, keys = {}, _key_metrics(metrics)
    for rule in SELECTION_RULES:
        selected = metrics["checkpoints"].get(rule)
        if selected is None:
            continue
        values[f"{rule}/{MEAN}"] = [percentage_over_seeds(selected[key]) for key in keys]
        for place, seed in enumerate(metrics.get("seeds", [])):
            values[f"{rule}/{seed}"] = [
                percentage(selected[key]["per_seed"][place]) for key in keys
            ]
    return values


def _key_rows(metrics: Metrics, values: Mapping[str, list[str]]) -> list[tuple[str, str, str]]:
    """Return name, value and evidence of the key metrics at the last step."""
    last = last_step(metrics)
    return [
        (
            _KEY_METRICS[key] or metric_text(key, metrics.get("unbiased_test")).name,
            text,
            evidence_in_words(last, key),
        )
        for key, text in zip(_key_metrics(metrics), values[FIRST], strict=True)
    ]


# --- Groups ---------------------------------------------------------------------------------------


class _GroupRow(TypedDict):
    group: tuple[int, int]
    label: str
    bias: str
    kind: str
    images: str
    train_images: str
    accuracy: str
    interval: str


def _group_rows(
    group_accuracy: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: DataCard,
    values: Mapping[str, Mapping[tuple[int, int], list[Any]]],
) -> list[_GroupRow]:
    """Return the groups at the last step, the worst first, those without images at the end."""
    if FIRST not in values:
        return []
    images = group_accuracy.groupby(["label", "bias"])["images"].max().to_dict()
    flags = manifest.assign(conflicting=manifest["conflicting"].astype("boolean"))
    conflicting = flags.groupby(["label", "bias"])["conflicting"].first().to_dict()
    train = manifest[manifest["split"] == "train"].groupby(["label", "bias"]).size().to_dict()
    last = values[FIRST]
    rows: list[_GroupRow] = []
    for group in sorted(last, key=lambda each: (last[each][0] is None, last[each][0])):
        flag = conflicting.get(group)
        known_kind = "conflicting" if flag else "aligned"
        rows.append(
            {
                "group": group,
                "label": attribute_name(data_card, "label", group[0]),
                "bias": attribute_name(data_card, "bias", group[1]),
                "kind": DASH if flag is None or pd.isna(flag) else known_kind,
                "images": f"{images[group]:,}",
                "train_images": f"{train.get(group, 0):,}",
                "accuracy": last[group][1],
                "interval": last[group][2],
            }
        )
    return rows


def _groups_for_page(
    rows: Sequence[_GroupRow], values: Mapping[str, Mapping[tuple[int, int], list[Any]]]
) -> dict[str, Any] | None:
    """Return names of the groups, and their values by selection rule and seed; None without any."""
    if not rows:
        return None
    return {
        "columns": ["label", "bias", "kind", "images"],
        "rows": [[row["label"], row["bias"], row["kind"], row["images"]] for row in rows],
        "values": {
            key: [of_key.get(row["group"], [None, DASH, ""]) for row in rows]
            for key, of_key in values.items()
        },
    }
