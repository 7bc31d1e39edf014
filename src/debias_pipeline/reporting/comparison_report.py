"""The report that compares methods with the first of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from debias_pipeline.published import PublishedAccuracy, source_in_words, sources_by_method
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
from debias_pipeline.reporting.findings import findings
from debias_pipeline.reporting.formatting import known, points
from debias_pipeline.reporting.pages import render
from debias_pipeline.reporting.wording import (
    AUROC,
    Metric,
    metrics_with_headline_first,
)
from debias_pipeline.selection_rules import LAST, SELECTION_RULES, SelectionRule

_COMPARISON_FIGURES = {
    "compared_metrics": FigureText(
        "Metrics at the last step",
        "All on the test split. The gap between aligned and conflicting is the cost of the "
        "shortcut.",
        "Chart of test, aligned, conflicting and worst-group accuracy by method",
        "Left out: there are no metrics.",
    ),
    "compared_learning_curves": FigureText(
        "Learning curves",
        "Accuracy on the test split. Line: mean over seeds. Band: lowest to highest seed.",
        "Line charts of the accuracy on all and on bias-conflicting test images by method",
        "Left out: there is no history.",
    ),
    "compared_group_heat_maps": FigureText(
        "Accuracy by group",
        "Accuracy (%) of the last step by label and bias, mean over seeds; darker is "
        "better. Bias-aligned groups have a blue outline.",
        "Heat maps of accuracy by label and bias, one for each method",
        NO_BIAS_LABELS,
    ),
}


def write_comparison_report(
    metrics: Sequence[Mapping[str, Any]],
    figures: Mapping[str, str],
    commands: Sequence[str],
    data_card: Mapping[str, Any],
    published: Mapping[str, Sequence[PublishedAccuracy]] | None = None,
) -> str:
    """Write the report that compares several methods with the first.

    Args:
        metrics: of each method on the same data set, the baseline first.
        figures: SVG text or `data:` addresses by name, from `draw_comparison_figures`.
        commands: each makes the results of a method again, see `run_command`.
        data_card: what is worth knowing about the data set.
        published: accuracies of papers by method; the first is shown.

    Returns:
        A whole HTML page that loads nothing.

    Raises:
        ValueError: if there are no metrics.
    """
    if not metrics:
        raise ValueError("A comparison needs the metrics of at least one method.")
    shown = {name: each[0] for name, each in (published or {}).items() if each}
    baseline = metrics[0]
    return render(
        "comparison_report.html.jinja",
        metrics=baseline,
        methods=[of_method["method"] for of_method in metrics],
        columns=_columns(baseline),
        sections=_comparison_sections(metrics, data_card, shown),
        published=sources_by_method((name, source_in_words(each)) for name, each in shown.items()),
        findings=findings(metrics),
        auroc_explained=AUROC,
        figures=figure_blocks(_COMPARISON_FIGURES, figures),
        commands=commands,
        **data_section(metrics, data_card),
    )


def _columns(baseline: Mapping[str, Any]) -> list[Metric]:
    return metrics_with_headline_first(baseline["headline"], baseline.get("unbiased_test"))


def _comparison_sections(
    metrics: Sequence[Mapping[str, Any]],
    data_card: Mapping[str, Any],
    published: Mapping[str, PublishedAccuracy],
) -> list[tuple[SelectionRule, list[tuple[str, list[Cell]]]]]:
    sections = []
    for protocol in SELECTION_RULES.values():
        rows = []
        missing = why_no_checkpoint(protocol, data_card)
        for of_method in metrics:
            cells = _compared_cells(of_method, metrics[0], protocol, missing)
            if published:
                checkpoint = of_method["checkpoints"].get(protocol.key)
                shown = published.get(of_method["method"])
                headline = of_method["headline"]
                cells.insert(1, published_cell(checkpoint, protocol, headline, shown))
            rows.append((of_method["method"], cells))
        sections.append((protocol, rows))
    return sections


def _compared_cells(
    metrics: Mapping[str, Any], baseline: Mapping[str, Any], protocol: SelectionRule, missing: str
) -> list[Cell]:
    checkpoint = metrics["checkpoints"].get(protocol.key)
    base = baseline["checkpoints"].get(protocol.key)
    cells = []
    for metric in _columns(baseline):
        cell = metric_cell(checkpoint, metric, missing)
        note = "" if metrics is baseline else _difference(checkpoint, base, metric.key)
        cells.append(Cell(cell.text, cell.title, note))
    # It belongs to the training run, whatever the checkpoint.
    auroc = auroc_cell(metrics) if protocol == LAST else Cell("")
    return [*cells, step_cell(checkpoint, missing), auroc]


def _difference(
    checkpoint: Mapping[str, Any] | None, base: Mapping[str, Any] | None, key: str
) -> str:
    if checkpoint is None or base is None:
        return ""
    mean, base_mean = known(checkpoint[key]["mean"]), known(base[key]["mean"])
    return "" if mean is None or base_mean is None else points(mean - base_mean)
