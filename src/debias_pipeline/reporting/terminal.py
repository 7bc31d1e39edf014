"""The first table that a user sees after a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from debias_pipeline.published import PublishedAccuracy, source_in_words, sources_by_method
from debias_pipeline.reporting.data_section import test_split_warning
from debias_pipeline.reporting.formatting import DASH, mean_and_std
from debias_pipeline.reporting.rich_table import plain_table
from debias_pipeline.reporting.wording import (
    LEAK,
    is_unreliable,
    metric_of,
    unreliable_rules,
)
from debias_pipeline.selection_rules import BEST_ON_TEST, LAST, SELECTION_RULES, SelectionRule

_COLUMNS = ("accuracy", "conflicting_accuracy", "aligned_accuracy", "worst_group_accuracy")


def headline_table(
    metrics: Sequence[Mapping[str, Any]],
    published: Mapping[str, Sequence[PublishedAccuracy]],
    data_card: Mapping[str, Any],
) -> Table:
    """Every method's headline figures by checkpoint, in per cent.

    Args:
        metrics: of each method on the same data set; fractions in 0..1.
        published: accuracies of papers by method; the first is shown.
        data_card: tells whether the test split is biased itself.

    Returns:
        A table that fits 80 columns.

    Raises:
        ValueError: if there are no metrics.
    """
    if not metrics:
        raise ValueError("A table needs the metrics of at least one method.")
    first = metrics[0]
    shown = {name: each[0] for name, each in published.items() if each}
    table = plain_table(
        f"{first['dataset']} {first['percent']}: test accuracy in %",
        caption=_caption(metrics, shown, data_card),
    )
    table.add_column("Method", style="bold", overflow="fold", min_width=7)
    table.add_column("Checkpoint")
    headline = first["headline"]
    for key in _COLUMNS:
        style = "bold" if key == headline else ""
        name = metric_of(key, first.get("unbiased_test")).name
        table.add_column(name.replace(" ", "\n"), justify="right", style=style)
    table.add_column("AUROC", justify="right")
    for of_method in metrics:
        _add_method(table, of_method, shown.get(of_method["method"]))
    return table


def _add_method(
    table: Table, metrics: Mapping[str, Any], published: PublishedAccuracy | None
) -> None:
    for protocol in SELECTION_RULES.values():
        first = protocol == LAST
        table.add_row(
            Text(metrics["method"]) if first else "",
            _rule_name(protocol, metrics),
            *_values(metrics["checkpoints"].get(protocol.key)),
            mean_and_std(_auroc_mean(metrics), 1, 3) if first else "",
            end_section=protocol == BEST_ON_TEST and published is None,
        )
    if published is not None:
        values = [
            f"{100 * published['accuracy']:.2f}" if key == metrics["headline"] else ""
            for key in _COLUMNS
        ]
        table.add_row("", "published†", *values, "", style="dim", end_section=True)


def _auroc_mean(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    auroc = metrics.get("conflict_detection_auroc")
    return {"mean": auroc["mean"]} if auroc else None


def _rule_name(rule: SelectionRule, metrics: Mapping[str, Any]) -> str:
    if rule.leaks:
        return f"{rule.name}*"
    return f"{rule.name}?" if is_unreliable(metrics["checkpoints"].get(rule.key)) else rule.name


def _values(checkpoint: Mapping[str, Any] | None) -> list[str]:
    if checkpoint is None:
        return [DASH] * len(_COLUMNS)
    return [mean_and_std(checkpoint.get(key), 100, 1) for key in _COLUMNS]


def _caption(
    metrics: Sequence[Mapping[str, Any]],
    published: Mapping[str, PublishedAccuracy],
    data_card: Mapping[str, Any],
) -> Text:
    accuracy = metric_of("accuracy", metrics[0].get("unbiased_test"))
    lines = [
        f"{accuracy.name} is the {accuracy.explanation}. ± is the standard deviation over seeds."
    ]
    if metrics[0]["headline"] != "accuracy":
        lines.append("Published tables quote conflicting accuracy for this data set.")
    lines.append("AUROC: how well the weights rank bias-conflicting training images first.")
    lines.append(f"* {LEAK}")
    lines += [f"? {warning}" for warning in unreliable_rules(metrics)]
    named = [each["method"] for each in metrics if each["method"] in published]
    sources = sources_by_method((name, source_in_words(published[name])) for name in named)
    lines += [f"† {source}" for source in sources]
    warning = test_split_warning(metrics, data_card)
    parts = [(f"{warning}\n", "yellow")] if warning else []
    return Text.assemble(*parts, ("\n".join(lines), "dim"))
