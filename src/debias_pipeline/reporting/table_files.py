"""The tables of pages as CSV, Markdown and LaTeX files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from debias_pipeline.names import METRICS
from debias_pipeline.records import DataCard, Metrics
from debias_pipeline.reporting.conditions import collapsed_sentences
from debias_pipeline.reporting.metric_table import (
    MetricText,
    attribute_metrics,
    is_unreliable,
    last_step,
    metrics_with_headline_first,
    unreliable_rules,
)
from debias_pipeline.reporting.text import (
    DASH,
    MINUS,
    REFERENCE_MARK,
    Attribute,
    attribute_name,
    mean_and_std,
    title_of,
)
from debias_pipeline.selection_rules import BEST_ON_TEST, LAST, SELECTION_RULES
from debias_pipeline.spreadsheets import csv_text

_ESCAPES: Final = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # At the start of a row they would be arguments of the command that ends the one before.
        **{character: f"{{{character}}}" for character in "[]*"},
        "±": r"$\pm$",
        DASH: "--",
        MINUS: "$-$",
        REFERENCE_MARK: "$^{R}$",
    }
)
_LONGEST: Final = 40  # rows of a LaTeX table on one page
_NAMES: Final = 2  # columns at the left that say what a row is
_GROUP_COLUMNS: Final[Mapping[str, str]] = {
    "label": "Label",
    "bias": "Bias",
    "kind": "Kind",
    "train_images": "Training images",
    "images": "Images",
    "accuracy": "Accuracy",
    "interval": "95 % interval",
}


def escape_markdown(text: str) -> str:
    """Return text on one line, escaped so that Markdown shows it as it is, also in a table."""
    return re.sub(r"([\\`*_~$\[\]<>|&#])", r"\\\1", " ".join(text.split()))


def escape_latex(text: str) -> str:
    """Return text on one line in which nothing is a command of LaTeX."""
    return " ".join(text.split()).translate(_ESCAPES)


def markdown_table(frame: pd.DataFrame) -> str:
    """Return a table of texts that are Markdown."""
    lines = [list(frame.columns), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("| --- ", "|---")


def latex_table(frame: pd.DataFrame, caption: str, name: str) -> str:
    """Return a table of texts that are LaTeX; it needs the package booktabs.

    Long tables need the package longtable in addition.

    Args:
        frame: the table; its first two columns are names.
        caption: plain text.
        name: its label is tab:<name>.
    """
    is_long = len(frame) > _LONGEST
    table: str = frame.to_latex(
        index=False,
        escape=False,
        column_format="l" * _NAMES + "r" * (frame.shape[1] - _NAMES),
        caption=escape_latex(caption),
        label=f"tab:{name}".replace("_", "-"),
        longtable=is_long,
        position=None if is_long else "htbp",
    )
    return table


@dataclass(frozen=True)
class PageTable:
    """A table of a page.

    Attributes:
        name: beginning of the names of its files.
        caption: what it shows.
        values: numbers of full precision, for CSV.
        texts: what a page shows, for Markdown and LaTeX; the first two columns say what a row is.
    """

    name: str
    caption: str
    values: pd.DataFrame
    texts: pd.DataFrame


def write_table_files(tables: Iterable[PageTable]) -> dict[str, str]:
    """Return the text of a CSV, a Markdown and a LaTeX file for each table, by name of the file."""
    files = {}
    for table in tables:
        markdown, latex = (
            table.texts.rename(columns=escape).map(escape)
            for escape in (escape_markdown, escape_latex)
        )
        files[f"{table.name}.csv"] = csv_text(table.values)
        caption = escape_markdown(table.caption)
        files[f"{table.name}.md"] = f"{caption}\n\n{markdown_table(markdown)}\n"
        files[f"{table.name}.tex"] = latex_table(latex, table.caption, table.name)
    return files


# --- The tables of reports ------------------------------------------------------------------------


def accuracy_tables(metrics: Sequence[Metrics]) -> list[PageTable]:
    """Return the tables of metrics by selection rule, and by bias attribute if there are several.

    Args:
        metrics: metrics of each method on the same data set, at least one.
    """
    first, title = metrics[0], title_of(metrics[0])
    spread = "in %, mean ± standard deviation over seeds"
    by_rule = pd.DataFrame(
        {
            "method": each["method"],
            "checkpoint": rule.name,
            "reliable": not is_unreliable(selected),
            **_numbers(selected, [*METRICS, "step"]),
            # It belongs to the training run, not to a checkpoint.
            **_numbers(each, ["conflict_detection_auroc"]),
        }
        for rule in SELECTION_RULES.values()
        for each in metrics
        if (selected := each["checkpoints"].get(rule.key))
    )
    columns = metrics_with_headline_first(first["headline"], first.get("unbiased_test"))
    has_leaking_rule = any(each["checkpoints"].get(BEST_ON_TEST.key) for each in metrics)
    notes = [
        f"{title}: accuracy on the test split {spread}",
        *([f"{BEST_ON_TEST.name}: {BEST_ON_TEST.description}"] if has_leaking_rule else []),
        *unreliable_rules(metrics),
        *collapsed_sentences(metrics),
    ]
    caption = "".join(f"{note}. " for note in notes).rstrip()
    tables = [PageTable("accuracy", caption, by_rule, _shown(by_rule, columns))]
    by_attribute = pd.DataFrame(
        {
            "attribute": attribute,
            "method": each["method"],
            **_numbers(of_attribute, METRICS[1:]),
        }
        for each in metrics
        for attribute, of_attribute in last_step(each).get("attributes", {}).items()
    )
    if not by_attribute.empty:
        caption = f"{title}: accuracy by bias attribute, {LAST.name}, {spread}."
        texts = _shown(by_attribute, attribute_metrics())
        tables.append(PageTable("attributes", caption, by_attribute, texts))
    return tables


def group_table(
    group_accuracy: pd.DataFrame, rows: Sequence[Mapping[str, Any]], data_card: DataCard
) -> PageTable:
    """Return the table of groups.

    Args:
        group_accuracy: from `groups_of_bias`.
        rows: rows of the page, which are those of the last step.
        data_card: data card of the data set.
    """
    of_group = group_accuracy.groupby(["checkpoint", "label", "bias"], sort=False)
    values = of_group.agg(
        images=("images", "max"),
        accuracy_mean=("accuracy", "mean"),
        accuracy_std=("accuracy", "std"),
    ).reset_index()
    values["checkpoint"] = [SELECTION_RULES[key].name for key in values["checkpoint"]]
    attributes: tuple[Attribute, ...] = ("label", "bias")
    for attribute in attributes:
        values[attribute] = [
            attribute_name(data_card, attribute, value) for value in values[attribute]
        ]
    texts = pd.DataFrame({name: [row[key] for row in rows] for key, name in _GROUP_COLUMNS.items()})
    caption = f"{title_of(data_card)}: accuracy by group, {LAST.name}, the worst group first."
    return PageTable("groups", caption, values, texts)


def _numbers(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, float | None]:
    """Return mean and standard deviation of values over seeds; metrics may lack some."""
    return {
        f"{key}_{statistic}": (values.get(key) or {}).get(statistic)
        for key in keys
        for statistic in ("mean", "std")
    }


def _shown(values: pd.DataFrame, columns: Iterable[MetricText]) -> pd.DataFrame:
    """Return the first two columns, and a text in per cent for each metric."""
    known = values.astype("object").where(values.notna(), None)
    texts = {
        metric.name: map(mean_and_std, known[f"{metric.key}_mean"], known[f"{metric.key}_std"])
        for metric in columns
    }
    return values.iloc[:, :_NAMES].assign(**{name: list(each) for name, each in texts.items()})
