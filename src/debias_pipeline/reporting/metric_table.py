"""Tables of metrics: names of the metrics, values by selection rule, reasons for missing values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from debias_pipeline.names import Headline, Metric
from debias_pipeline.published import PublishedAccuracy, comparable_selection, source_in_words
from debias_pipeline.records import DataCard, Metrics, RuleMetrics
from debias_pipeline.reporting.text import (
    DASH,
    mean_and_std,
    percentage,
    percentage_over_seeds,
    points,
    range_over_seeds,
)
from debias_pipeline.selection_rules import (
    MIN_SUPPORT,
    PSEUDO_GROUPS,
    SELECTED,
    SELECTION_RULES,
    SelectionRule,
)

NO_SELECTION: Final = "selecting a step needs bias labels on the validation split"
NO_PSEUDO_GROUPS: Final = (
    "pseudo-groups need validation images that a biased network gets wrong and others that it gets "
    "right"
)
AUROC: Final = (
    "The probability that a bias-conflicting training image has a higher mean weight than a "
    "bias-aligned one: 0.5 is random, 1 is a perfect ranking."
)


@dataclass(frozen=True)
class MetricText:
    """What reports say of a metric.

    Attributes:
        key: its key in `RuleMetrics`.
        name: for headers of columns.
        explanation: one sentence, without a full stop.
        needs: what is missing where the metric is null.
    """

    key: Metric
    name: str
    explanation: str
    needs: str


_NEEDS_BIAS_LABELS: Final = "needs bias labels on the test split"
_METRIC_TEXTS: Final = (
    MetricText("accuracy", "Test accuracy", "accuracy on the test split", "was not measured"),
    MetricText(
        "group_balanced_accuracy",
        "Group-balanced",
        "mean of the accuracies of all groups, each counted once; a group is the images of one "
        "label and one bias attribute",
        f"{_NEEDS_BIAS_LABELS}, and images in every group",
    ),
    MetricText(
        "aligned_accuracy",
        "Aligned",
        "accuracy on test images with the bias attribute that usually goes with their label",
        f"{_NEEDS_BIAS_LABELS}, and bias-aligned images there",
    ),
    MetricText(
        "conflicting_accuracy",
        "Conflicting",
        "accuracy on test images with any other bias attribute: a model that learned the shortcut "
        "gets them wrong",
        f"{_NEEDS_BIAS_LABELS}, and bias-conflicting images there",
    ),
    MetricText(
        "worst_group_accuracy",
        "Worst group",
        "accuracy in the group where it is lowest",
        f"{_NEEDS_BIAS_LABELS}, and images in every group",
    ),
)
_UNBIASED_ACCURACY: Final = replace(
    _METRIC_TEXTS[0],
    name="Unbiased accuracy",
    explanation="accuracy on the test split, in which the bias attribute is independent of the "
    "label",
)


def metric_text(key: str, unbiased_test: bool | None) -> MetricText:
    """Return the name and explanation of a metric.

    Args:
        key: its key in `RuleMetrics`.
        unbiased_test: whether label and bias are known to be independent in the test split, see
            `Metrics`; only then accuracy is called unbiased.
    """
    if key == _UNBIASED_ACCURACY.key and unbiased_test:
        return _UNBIASED_ACCURACY
    return next(text for text in _METRIC_TEXTS if text.key == key)


def metrics_with_headline_first(headline: str, unbiased_test: bool | None) -> list[MetricText]:
    """Return all metrics, first the one that published tables quote for the data set."""
    keys = sorted((text.key for text in _METRIC_TEXTS), key=lambda key: key != headline)
    return [metric_text(key, unbiased_test) for key in keys]


@dataclass(frozen=True)
class TableCell:
    """An entry of a table on a page.

    Attributes:
        text: what it shows.
        title: what is shown when the mouse points at it: values by seed, or why it is missing.
        note: a second, smaller line.
        style: its CSS class.
        link: an address, or "".
    """

    text: str
    title: str = ""
    note: str = ""
    style: Literal["", "headline", "published", "best", "missing"] = ""
    link: str = ""


def metric_row(
    metrics: Metrics,
    rule: SelectionRule,
    data_card: DataCard,
    published: PublishedAccuracy | None = None,
    baseline: Metrics | None = None,
    *,
    published_column: bool = False,
) -> list[TableCell]:
    """Return a method's row of a table: the headline metric, the other metrics, the step.

    Args:
        metrics: metrics of the method.
        rule: the selection rule of the row.
        data_card: data card of the data set.
        published: accuracy published in a paper; it is shown in the row of the comparable rule.
        baseline: metrics of the method that differences are shown to, if any.
        published_column: whether the second column has published accuracies.
    """
    selected = metrics["checkpoints"].get(rule.key)
    base = baseline["checkpoints"].get(rule.key) if baseline else None
    missing = _why_no_checkpoint(rule, data_card)
    first = baseline or metrics
    columns = metrics_with_headline_first(first["headline"], first.get("unbiased_test"))
    row = [_metric_cell(selected, metric, missing, base) for metric in columns]
    row[0] = replace(row[0], style="headline")
    if published_column:
        row.insert(1, _published_cell(selected, rule, metrics["headline"], published))
    return [*row, _step_cell(selected, missing)]


def _metric_cell(
    selected: RuleMetrics | None, metric: MetricText, missing: str, base: RuleMetrics | None
) -> TableCell:
    if selected is None:
        return TableCell(DASH, missing)
    values = selected[metric.key]
    if values["mean"] is None:
        return TableCell(DASH, f"no value: {metric.needs}")
    by_seed = ", ".join(map(percentage, values["per_seed"]))
    base_mean = base[metric.key]["mean"] if base else None
    note = "" if base_mean is None else points(values["mean"] - base_mean)
    return TableCell(percentage_over_seeds(values), f"by seed: {by_seed}", note)


def _published_cell(
    selected: RuleMetrics | None,
    rule: SelectionRule,
    headline: Headline,
    published: PublishedAccuracy | None,
) -> TableCell:
    """Return a published accuracy and the difference of the measured one from it."""
    if published is None:
        return TableCell(
            DASH, "no published accuracy of this method is known here", style="published"
        )
    comparable = comparable_selection(published)
    if rule.key != comparable:
        name = SELECTION_RULES[comparable].name
        title = f"the published accuracy is comparable with “{name}”"
        return TableCell(DASH, title, style="published")
    mean = selected[headline]["mean"] if selected else None
    note = "" if mean is None else f"measured {points(mean - published['accuracy'])}"
    text = percentage(published["accuracy"], 2)
    return TableCell(text, source_in_words(published), note, style="published")


def _step_cell(selected: RuleMetrics | None, missing: str) -> TableCell:
    if selected is None:
        return TableCell(DASH, missing)
    text, title = range_over_seeds(selected["step"]), "lowest to highest over seeds"
    if is_unreliable(selected):
        support = range_over_seeds(selected["support"])
        return TableCell(
            f"{text}?", f"{title}; based on only {support} conflicting validation images"
        )
    return TableCell(text, title)


def auroc_cell(metrics: Metrics) -> TableCell:
    """Return the AUROC of the method's weights in detecting bias-conflicting training images."""
    auroc = metrics["conflict_detection_auroc"]
    if auroc["mean"] is None:
        return TableCell(
            DASH, "needs a method that weights training images, and bias labels of these images"
        )
    return TableCell(mean_and_std(auroc["mean"], auroc["std"], 1, 3))


def last_step(metrics: Metrics) -> RuleMetrics:
    """Return the metrics of the last step, which every run has."""
    last = metrics["checkpoints"]["last"]
    if last is None:
        raise ValueError(f"the metrics of {metrics['method']} have no entry for the last step")
    return last


def _why_no_checkpoint(rule: SelectionRule, data_card: DataCard) -> str:
    valid = data_card["splits"]["valid"]
    if rule == SELECTED and valid["conflicting"] is None:
        return f"no checkpoint: {NO_SELECTION}"
    if rule == SELECTED and valid["conflicting"] == 0:
        return "no checkpoint: there is no bias-conflicting image in the validation split"
    if rule == SELECTED and valid["conflicting_fraction"] == 1:
        return "no checkpoint: there is no bias-aligned image in the validation split"
    single = "only the networks of a single step were evaluated"
    if rule == PSEUDO_GROUPS:
        return f"no checkpoint: {NO_PSEUDO_GROUPS}; or {single}"
    return f"no checkpoint: {single}"


def is_unreliable(selected: RuleMetrics | None) -> bool:
    """Return whether a step was selected by too few conflicting validation images."""
    # Metrics of earlier versions lack the key.
    return selected is not None and selected.get("reliable") is False


def unreliable_rules(metrics: Sequence[Metrics]) -> list[str]:
    """Return a sentence for each selection rule that uses too few conflicting validation images.

    Args:
        metrics: metrics of each method on the same data set.
    """
    sentences = []
    for rule in SELECTION_RULES.values():
        counts = _counts_of_unreliable(metrics, rule)
        if not counts:
            continue
        if len(counts) == len(metrics) and len(set(counts.values())) == 1:
            text = next(iter(counts.values()))
        else:
            text = ", ".join(f"{count} ({method})" for method, count in counts.items())
        sentences.append(
            f"{rule.name}: unreliable, based on {text} conflicting validation images, fewer than "
            f"{MIN_SUPPORT}"
        )
    return sentences


def _counts_of_unreliable(metrics: Sequence[Metrics], rule: SelectionRule) -> Mapping[str, str]:
    """Return method → number of conflicting validation images, where it is too small."""
    counts = {}
    for of_method in metrics:
        selected = of_method["checkpoints"].get(rule.key)
        if selected is not None and is_unreliable(selected):
            counts[of_method["method"]] = range_over_seeds(selected["support"]).replace(
                DASH, " to "
            )
    return counts
