"""Table cells of a report: a figure, and what it says when pointed at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from debias_pipeline.published import PublishedAccuracy, comparable_selection, source_in_words
from debias_pipeline.reporting.formatting import (
    DASH,
    known,
    mean_and_std,
    percentage,
    percentage_over_seeds,
    points,
    seed_values,
    steps_over_seeds,
)
from debias_pipeline.reporting.wording import (
    NO_PSEUDO_GROUPS,
    NO_SELECTION,
    Metric,
    is_unreliable,
    support_in_words,
)
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Attributes:
        text: what it shows.
        title: what it says when pointed at: the seeds' values, or why there is no figure.
        note: a second, smaller line.
        published: whether it stands in the column of published figures.
    """

    text: str
    title: str = ""
    note: str = ""
    published: bool = False


def why_no_checkpoint(protocol: SelectionRule, data_card: Mapping[str, Any]) -> str:
    """Say why a method has no checkpoint of this protocol.

    Args:
        protocol: by which no checkpoint was picked.
        data_card: counts the bias-conflicting images of the validation split.
    """
    valid = data_card["splits"]["valid"]
    if protocol.key == "selected" and known(valid["conflicting"]) is None:
        return f"no checkpoint: {NO_SELECTION}"
    if protocol.key == "selected" and valid["conflicting"] == 0:
        return "no checkpoint: there is no bias-conflicting image in the validation split"
    if protocol.key == "selected" and valid["conflicting_fraction"] == 1:
        return "no checkpoint: there is no bias-aligned image in the validation split"
    single = "the networks of a single step were evaluated"
    if protocol.key == "pseudo_groups":
        return f"no checkpoint: {NO_PSEUDO_GROUPS}; or {single}"
    return f"no checkpoint: {single}"


def metric_cell(
    checkpoint: Mapping[str, Any] | None, metric: Metric, why_no_checkpoint: str
) -> Cell:
    """Return a metric over seeds.

    Args:
        checkpoint: its metrics; None where there is no such checkpoint.
        metric: which of them.
        why_no_checkpoint: see the function of that name.
    """
    if checkpoint is None:
        return Cell(DASH, why_no_checkpoint)
    summary = checkpoint.get(metric.key)
    text = percentage_over_seeds(summary)
    if text == DASH:
        return Cell(DASH, f"no figure: {metric.needs}")
    return Cell(text, f"by seed: {seed_values(summary)}")


def published_cell(
    checkpoint: Mapping[str, Any] | None,
    protocol: SelectionRule,
    headline: str,
    published: PublishedAccuracy | None,
) -> Cell:
    """Return a published accuracy and, below it, the difference of the measured one from it.

    Args:
        checkpoint: the measured metrics; None where there is no such checkpoint.
        protocol: that of the table row; the accuracy is shown only where the two compare.
        headline: key of the metric that was published.
        published: None if there is none.
    """
    if published is None:
        return Cell(DASH, "no published accuracy of this method is known here", published=True)
    comparable = comparable_selection(published)
    if protocol.key != comparable:
        name = SELECTION_RULES[comparable].name
        return Cell(DASH, f"the published accuracy compares with “{name}”", published=True)
    mean = known(checkpoint[headline]["mean"]) if checkpoint else None
    note = "" if mean is None else f"measured {points(mean - published['accuracy'])}"
    text = percentage(published["accuracy"], 2)
    return Cell(text, source_in_words(published), note, published=True)


def step_cell(checkpoint: Mapping[str, Any] | None, why_no_checkpoint: str) -> Cell:
    """Return the step of a checkpoint; None where there is no such checkpoint."""
    if checkpoint is None:
        return Cell(DASH, why_no_checkpoint)
    text, title = steps_over_seeds(checkpoint["step"]), "lowest to highest over seeds"
    if is_unreliable(checkpoint):
        support = support_in_words(checkpoint["support"]["per_seed"])
        return Cell(f"{text}?", f"{title}; rests on {support} conflicting validation images only")
    return Cell(text, title)


def auroc_cell(metrics: Mapping[str, Any]) -> Cell:
    """How well a method's weights find the bias-conflicting training images."""
    text = mean_and_std(metrics.get("conflict_detection_auroc"), 1, 3)
    if text == DASH:
        return Cell(DASH, "needs a method that weighs training images, and their bias labels")
    return Cell(text)
