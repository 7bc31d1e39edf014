"""Tables of metrics: names of the metrics, values by selection rule, reasons for missing values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, cast

from debias_pipeline.intervals import auroc_interval
from debias_pipeline.names import Metric
from debias_pipeline.published import (
    PublishedAccuracy,
    comparable_selection,
    shown_accuracy,
    source_in_words,
    sources_by_method,
)
from debias_pipeline.records import DataCard, Metrics, OverSeeds, RuleMetrics, TrainingRecord
from debias_pipeline.reporting.conditions import collapsed_of, is_oracle
from debias_pipeline.reporting.recipe_changes import RecipeChange
from debias_pipeline.reporting.text import (
    DASH,
    FEW_IMAGES,
    counted,
    evidence_text,
    mean_and_std,
    median_text,
    percentage,
    percentage_over_seeds,
    points,
    range_over_seeds,
)
from debias_pipeline.selection_rules import (
    BEST_ON_TEST,
    MIN_SUPPORT,
    PSEUDO_GROUPS,
    SELECTED,
    SELECTION_RULES,
    SelectionRule,
)

NO_PSEUDO_GROUPS: Final = (
    "for at least one seed, the biased network gets all validation images right or all wrong, so "
    "there are no two pseudo-groups"
)
# The metrics that charts and figures compare.
COMPARED: Final[tuple[Metric, ...]] = (
    "accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
)
AUROC: Final = (
    "The probability that a bias-conflicting training image has a higher mean weight than a "
    "bias-aligned one: 0.5 is random, 1 is a perfect ranking."
)


@dataclass(frozen=True)
class MethodResult:
    """A trained and evaluated method, as reports show it.

    Attributes:
        metrics: with the name of the method for people, see `with_shown_name`.
        record: record of the training run; may be empty.
        published: accuracies published in papers.
        recipe_changes: recipe fields that differ from those in the files and, if an accuracy is
            published, data options that are not at their defaults.
        command: reproduces the results, see `run_command`; "" without a record.
    """

    metrics: Metrics
    record: TrainingRecord = field(default_factory=TrainingRecord)
    published: Sequence[PublishedAccuracy] = ()
    recipe_changes: Sequence[RecipeChange] = ()
    command: str = ""

    @property
    def name(self) -> str:
        """Return the name of the method."""
        return self.metrics["method"]

    @property
    def is_oracle(self) -> bool:
        """Return whether the method needs bias labels for training, see `conditions.is_oracle`."""
        return is_oracle(self.metrics.get("bias_labels"))

    @property
    def shown_published(self) -> PublishedAccuracy | None:
        """Return the published accuracy for tables, if any."""
        return shown_accuracy(self.published, self.metrics["headline"])


def published_sources(results: Iterable[MethodResult]) -> list[str]:
    """Return the sources of the published accuracies that tables show."""
    return sources_by_method(
        (each.name, source_in_words(shown)) for each in results if (shown := each.shown_published)
    )


@dataclass(frozen=True)
class MetricText:
    """What reports say of a metric.

    Attributes:
        key: its key in `RuleMetrics`.
        name: for headers of columns.
        explanation: one sentence, without a full stop.
    """

    key: Metric
    name: str
    explanation: str

    @property
    def accuracy_name(self) -> str:
        """Return the name for sentences, such as "Worst group accuracy"."""
        return f"{self.name.removesuffix(' accuracy')} accuracy"


_METRIC_TEXTS: Final = (
    MetricText("accuracy", "Test accuracy", "accuracy on the test split"),
    MetricText(
        "group_balanced_accuracy",
        "Group-balanced",
        "mean of the accuracies of all groups, each counted once; a group is the images of one "
        "label and one bias attribute",
    ),
    MetricText(
        "aligned_accuracy",
        "Aligned",
        "accuracy on test images with the bias attribute that usually goes with their label",
    ),
    MetricText(
        "conflicting_accuracy",
        "Conflicting",
        "accuracy on test images with any other bias attribute: a model that learned the shortcut "
        "gets them wrong",
    ),
    MetricText(
        "worst_group_accuracy",
        "Worst group",
        "accuracy in the group where it is lowest",
    ),
    MetricText(
        "adjusted_average_accuracy",
        "Adjusted average",
        "mean of the accuracies of all groups, weighted by their shares of the training images, as "
        "papers about worst groups print average accuracy",
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


def attribute_metrics() -> list[MetricText]:
    """Return the metrics that depend on the bias, see `AttributeMetrics`."""
    return [text for text in _METRIC_TEXTS if text.key != "accuracy"]


def attribute_rows(metrics: Sequence[Metrics]) -> list[tuple[str, str, list[str]]]:
    """Return the rows of a table of metrics at the last step by bias attribute.

    Args:
        metrics: metrics of each method.

    Returns:
        Attribute, method and a text for each of `attribute_metrics`; no rows for a data set with a
        single attribute.
    """
    of_methods = [(each, last_step(each).get("attributes", {})) for each in metrics]
    names = dict.fromkeys(name for _, of_method in of_methods for name in of_method)
    return [
        (
            name,
            each["method"],
            [
                percentage_over_seeds(cast(OverSeeds, of_method[name].get(text.key)))
                for text in attribute_metrics()
            ],
        )
        for name in names
        for each, of_method in of_methods
        if name in of_method
    ]


@dataclass(frozen=True)
class TableCell:
    """An entry of a table on a page.

    Attributes:
        text: what it shows.
        title: what is shown when the mouse points at it: values by seed, or why it is missing.
        count: a smaller line below it: how many images it rests on.
        note: another smaller line.
        median: a smaller line with the median over seeds.
        collapsed: a smaller line with the seeds that collapsed.
        cost: a smaller line with the cost of training.
        style: its CSS class.
        link: an address, or "".
        by_seed: the text for each seed.
        value: what the column is sorted by instead of the text.
    """

    text: str
    title: str = ""
    note: str = ""
    count: str = ""
    style: Literal["", "headline", "published", "best", "missing"] = ""
    link: str = ""
    median: str = ""
    collapsed: str = ""
    cost: str = ""
    by_seed: tuple[str, ...] = ()
    value: float | None = None


def metric_row(
    result: MethodResult,
    rule: SelectionRule,
    data_card: DataCard,
    baseline: Metrics | None = None,
    *,
    published_column: bool,
) -> list[TableCell]:
    """Return a method's row of a table: the headline metric, the other metrics, the step.

    Args:
        result: result of the method.
        rule: the selection rule of the row.
        data_card: data card of the data set.
        baseline: metrics of the method that differences are shown to, if any.
        published_column: whether the second column has published accuracies.
    """
    metrics = result.metrics
    selected = metrics["checkpoints"].get(rule.key)
    base = baseline["checkpoints"].get(rule.key) if baseline else None
    missing = why_no_checkpoint(metrics, rule, data_card)
    first = baseline or metrics
    columns = metrics_with_headline_first(first["headline"], first.get("unbiased_test"))
    row = [_metric_cell(selected, metric, missing, data_card, base) for metric in columns]
    row[0] = replace(row[0], style="headline", collapsed=collapsed_of(metrics, rule))
    if published_column:
        row.insert(1, _published_cell(result, rule))
    return [*row, _step_cell(selected, missing, rule)]


def _metric_cell(
    selected: RuleMetrics | None,
    metric: MetricText,
    missing: str,
    data_card: DataCard,
    base: RuleMetrics | None,
) -> TableCell:
    if selected is None:
        return TableCell(DASH, missing)
    # Metrics of earlier versions lack some.
    values = selected.get(metric.key)
    if values is None or values["mean"] is None:
        return TableCell(DASH, f"no value: {why_no_value(metric.key, data_card)}")
    by_seed = tuple(map(percentage, values["per_seed"]))
    of_base = base.get(metric.key) if base else None
    base_mean = of_base["mean"] if of_base else None
    note = "" if base_mean is None else points(values["mean"] - base_mean)
    return TableCell(
        percentage_over_seeds(values),
        f"by seed: {', '.join(by_seed)}",
        note,
        evidence_in_words(selected, metric.key),
        median=median_text(values["per_seed"]),
        by_seed=by_seed,
    )


def evidence_in_words(selected: RuleMetrics, metric: Metric) -> str:
    """Return how many test images a metric rests on if they are few, with its 95 % interval.

    Args:
        selected: metrics of the steps that a rule selects.
        metric: key of the metric; see `evidence_text`.
    """
    return evidence_text(metric, selected[metric], selected.get("evidence", {}).get(metric))


def few_images_text(metrics: Metrics, metric: Metric) -> str:
    """Return the number of test images behind a metric of the last step, "" if it is not small.

    For example "2 images".
    """
    evidence = last_step(metrics).get("evidence", {}).get(metric)
    if evidence is None or evidence["images"] >= FEW_IMAGES:
        return ""
    return counted(evidence["images"], "image")


def images_in_brackets(metrics: Metrics, metric: Metric) -> str:
    """Return what `few_images_text` returns in brackets, after a space: " (2 images)" or ""."""
    text = few_images_text(metrics, metric)
    return f" ({text})" if text else ""


def why_no_value(metric: Metric, data_card: DataCard) -> str:
    """Return why a metric of the test split is null."""
    test = data_card["splits"]["test"]
    if test["conflicting"] is None:
        return "no test image has a bias label"
    if metric == "conflicting_accuracy" and test["conflicting"] == 0:
        return "there is no bias-conflicting image in the test split"
    if metric == "aligned_accuracy" and test["conflicting_fraction"] == 1:
        return "there is no bias-aligned image in the test split"
    if metric == "adjusted_average_accuracy":
        return "a training image has no bias label, or a group of training images has no test image"
    return "the metric was not computed"


def _published_cell(result: MethodResult, rule: SelectionRule) -> TableCell:
    """Return a published accuracy, and the difference of one measured with the same recipe."""
    selected, published = result.metrics["checkpoints"].get(rule.key), result.shown_published
    if published is None:
        return TableCell(
            DASH, "no published accuracy of this method is known here", style="published"
        )
    selection = comparable_selection(published)
    if rule.key != selection:
        name = SELECTION_RULES[selection].name
        title = f"the published accuracy is comparable with “{name}”"
        return TableCell(DASH, title, style="published")
    mean = None
    if selected and not result.recipe_changes:
        mean = selected[result.metrics["headline"]]["mean"]
    note = "" if mean is None else f"measured {points(mean - published['accuracy'])}"
    text = percentage(published["accuracy"], 2)
    return TableCell(text, source_in_words(published), note, style="published")


def _step_cell(selected: RuleMetrics | None, missing: str, rule: SelectionRule) -> TableCell:
    if selected is None:
        return TableCell(DASH, missing)
    text = range_over_seeds(selected["step"])
    several = len(selected["step"]["per_seed"]) > 1
    titles = ["lowest to highest over seeds"] if several else []
    if is_unreliable(selected):
        titles.append(f"based on only {_support_in_words(selected, rule)}")
        text += "?"
    steps = selected["step"]["per_seed"]
    by_seed = tuple(DASH if step is None else f"{step:,.0f}" for step in steps)
    return TableCell(text, "; ".join(titles), by_seed=by_seed)


def _support_in_words(selected: RuleMetrics, rule: SelectionRule) -> str:
    return f"{_support(selected)} {support_name(rule)}"


def _support(selected: RuleMetrics) -> str:
    return range_over_seeds(selected["support"]).replace(DASH, " to ")


def support_name(rule: SelectionRule) -> str:
    """Return the name of the validation images whose number makes a rule reliable or not."""
    # Without bias labels it is not known which images conflict.
    kind = "pseudo-conflicting" if rule == PSEUDO_GROUPS else "conflicting"
    return f"{kind} validation images"


def auroc_cell(metrics: Metrics, data_card: DataCard) -> TableCell:
    """Return the AUROC of the method's weights in detecting bias-conflicting training images.

    Args:
        metrics: metrics of the method.
        data_card: data card of the data set.

    Returns:
        Mean and standard deviation over seeds, with the number of conflicting images and an
        interval if there are few of them; a dash and the reason if the AUROC is unknown.
    """
    auroc, train = metrics["conflict_detection_auroc"], data_card["splits"]["train"]
    conflicting, fraction = train["conflicting"], train["conflicting_fraction"]
    if auroc["mean"] is None:
        return TableCell(DASH, _why_no_auroc(metrics, conflicting, fraction))
    text, count = mean_and_std(auroc["mean"], auroc["std"], 1, 3), ""
    if conflicting and fraction and conflicting < FEW_IMAGES:
        aligned = max(1, round(conflicting / fraction) - conflicting)
        low, high = auroc_interval(auroc["mean"], conflicting, aligned)
        count = f"{counted(conflicting, 'conflicting image')}; {low:.2f}{DASH}{high:.2f}"
    return TableCell(text, count=count)


def _why_no_auroc(metrics: Metrics, conflicting: int | None, fraction: float | None) -> str:
    if conflicting is None:
        return "no training image has a bias label"
    if conflicting == 0:
        return "there is no bias-conflicting training image"
    if fraction == 1:
        return "there is no bias-aligned training image"
    return f"{metrics['method']} does not weight training images"


def last_step(metrics: Metrics) -> RuleMetrics:
    """Return the metrics of the last step, which every run has."""
    last = metrics["checkpoints"]["last"]
    if last is None:
        raise ValueError(f"the metrics of {metrics['method']} have no entry for the last step")
    return last


def seed_count(metrics: Metrics) -> int:
    """Return the number of seeds."""
    return len(last_step(metrics)["accuracy"]["per_seed"])


def selected_steps(metrics: Metrics, rule: SelectionRule) -> list[tuple[str, float, float]]:
    """Return the step that a rule selects for each seed, as seed, step and test accuracy there.

    The list is empty if the rule selects no step.
    """
    selected = metrics["checkpoints"].get(rule.key)
    if selected is None:
        return []
    steps, accuracies = selected["step"]["per_seed"], selected["accuracy"]["per_seed"]
    # Metrics of earlier versions lack the seeds.
    seeds = metrics.get("seeds", range(len(steps)))
    return [
        (str(seed), step, accuracy)
        for seed, step, accuracy in zip(seeds, steps, accuracies, strict=True)
        if step is not None and accuracy is not None
    ]


def why_no_checkpoint(metrics: Metrics, rule: SelectionRule, data_card: DataCard) -> str:
    """Return why a selection rule has selected no step."""
    valid = data_card["splits"]["valid"]
    if rule == SELECTED and valid["conflicting"] is None:
        return "no checkpoint: no validation image has a bias label"
    if rule == SELECTED and valid["conflicting"] == 0:
        return "no checkpoint: there is no bias-conflicting image in the validation split"
    if rule == SELECTED and valid["conflicting_fraction"] == 1:
        return "no checkpoint: there is no bias-aligned image in the validation split"
    if last_step(metrics)[metrics["headline"]]["mean"] is None and rule == BEST_ON_TEST:
        return "no checkpoint: the accuracy that it maximises has no value"
    if rule == PSEUDO_GROUPS and metrics["checkpoints"].get(BEST_ON_TEST.key) is not None:
        return f"no checkpoint: {NO_PSEUDO_GROUPS}"
    return "no checkpoint: only the networks of a single step were evaluated"


def is_unreliable(selected: RuleMetrics | None) -> bool:
    """Return whether a step was selected by too few (pseudo-)conflicting validation images."""
    # Metrics of earlier versions lack the key.
    return selected is not None and selected.get("reliable") is False


def unreliable_rules(metrics: Sequence[Metrics]) -> list[str]:
    """Return a sentence for each selection rule that is unreliable for at least one method.

    Args:
        metrics: metrics of each method on the same data set.
    """
    sentences = []
    for rule in SELECTION_RULES.values():
        counts = {
            each["method"]: _support(selected)
            for each in metrics
            if (selected := each["checkpoints"].get(rule.key)) and is_unreliable(selected)
        }
        if not counts:
            continue
        if len(counts) == len(metrics) and len(set(counts.values())) == 1:
            text = next(iter(counts.values()))
        else:
            text = ", ".join(f"{count} ({method})" for method, count in counts.items())
        images = support_name(rule).removesuffix("s" if text == "1" else "")
        sentences.append(
            f"{rule.name}: unreliable, based on {text} {images}; at least "
            f"{MIN_SUPPORT} are needed for every seed"
        )
    return sentences
