"""The HTML report that compares methods with the first of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from debias_pipeline.names import Metric
from debias_pipeline.records import DataCard, Metrics, OverSeeds
from debias_pipeline.reporting.conditions import (
    COST_EXPLAINED,
    bias_labels_text,
    name_with_oracle,
)
from debias_pipeline.reporting.figures.charts import Chart
from debias_pipeline.reporting.metric_table import (
    AUROC,
    MethodResult,
    TableCell,
    attribute_metrics,
    attribute_rows,
    auroc_cell,
    evidence_in_words,
    last_step,
    metric_row,
    metric_text,
    metrics_with_headline_first,
    published_sources,
    seed_count,
)
from debias_pipeline.reporting.pages.index_page import COMPARISON, about_methods
from debias_pipeline.reporting.pages.page import (
    FigureText,
    data_section,
    figure_blocks,
    page_scripts,
    recipe_banner,
    render,
    switches,
)
from debias_pipeline.reporting.pages.provenance import provenance
from debias_pipeline.reporting.significance import CORRECTION, TEST, find_best, verdict_in_words
from debias_pipeline.reporting.table_files import accuracy_tables, write_table_files
from debias_pipeline.reporting.text import cost_text, known, percentage, points
from debias_pipeline.selection_rules import LAST, SELECTION_RULES, SelectionRule

_FIGURE_TEXTS: Final[Mapping[str, FigureText]] = {
    "compared_metrics": FigureText(
        "Accuracy with and against the bias",
        "All on the test split, at the last step unless another selection rule is chosen. A model "
        "that uses the shortcut has a far higher aligned than conflicting accuracy.",
        "Chart of test, aligned, conflicting and worst-group accuracy by method",
    ),
    "compared_learning_curves": FigureText(
        "Learning curves",
        "Accuracy on the test split. Line: mean over seeds. "
        "Band, with several seeds: lowest to highest.",
        "Line charts of the accuracy on all and on bias-conflicting test images by method",
    ),
    "compared_group_heat_maps": FigureText(
        "Accuracy by group",
        "Accuracy (%) of the last step by label and bias, mean over seeds. "
        "Bias-aligned groups have a blue outline. Accuracies of small groups vary by "
        "chance.",
        "Heat maps of accuracy by label and bias, one for each method",
    ),
}


def write_comparison_report(
    results: Sequence[MethodResult],
    figures: Mapping[str, str],
    charts: Mapping[str, Chart],
    data_card: DataCard,
    command: str = "",
    mlflow_ui: str = "",
) -> tuple[str, dict[str, str]]:
    """Return the report of several methods, a page that loads no other files, and its tables.

    Args:
        results: of each method on the same data set, the baseline first.
        figures: SVG text by name, from `draw_comparison_figures`.
        charts: interactive charts that replace figures, from `comparison_charts`.
        data_card: data card of the data set.
        command: makes this page again from the results of the methods; "" if there is none.
        mlflow_ui: address of MLflow's pages, to which the footer links; "" makes no link.

    Returns:
        The page, and text by name of files in the folder `tables` next to it.

    Raises:
        ValueError: if there are no results.
    """
    if not results:
        raise ValueError("results=[] is empty; a comparison needs at least one method")
    metrics, published = [each.metrics for each in results], published_sources(results)
    baseline = metrics[0]
    charts = {name: chart for name, chart in charts.items() if name in figures}
    sentences, files = findings(results), write_table_files(accuracy_tables(metrics))
    page = render(
        "comparison_report.html.jinja",
        scripts=page_scripts(with_charts=bool(charts)),
        page_data=switches(metrics, with_all=True),
        provenance=provenance(results, data_card, mlflow_ui),
        about=about_methods(COMPARISON, metrics),
        metrics=baseline,
        methods=[each.name for each in results],
        columns=metrics_with_headline_first(baseline["headline"], baseline.get("unbiased_test")),
        sections=[(rule, _rows(results, rule, data_card)) for rule in SELECTION_RULES.values()],
        oracles=[each.name for each in results if each.is_oracle],
        tested=_tests_in_words(results),
        with_costs=any(each.record for each in results),
        cost_explained=COST_EXPLAINED,
        published=published,
        recipe_banner=recipe_banner(results),
        findings=sentences,
        test=f"{TEST}, {CORRECTION}'s correction",
        attribute_columns=attribute_metrics(),
        attribute_rows=attribute_rows(metrics),
        auroc_explained=AUROC,
        figures=figure_blocks(
            _FIGURE_TEXTS,
            figures,
            charts,
            {"compared_metrics": " ".join(each.sentence for each in sentences)},
        ),
        commands=[*filter(None, [*(each.command for each in results), command])],
        files=list(files),
        **data_section(metrics, data_card),
    )
    return page, files


def _rows(
    results: Sequence[MethodResult], rule: SelectionRule, data_card: DataCard
) -> list[tuple[str, str, list[TableCell]]]:
    """Return the name of each method, the bias labels used, and its table cells; oracles last."""
    has_published = any(each.shown_published for each in results)
    rows = []
    for result in sorted(results, key=lambda each: each.is_oracle):
        baseline = None if result is results[0] else results[0].metrics
        row = metric_row(result, rule, data_card, baseline, published_column=has_published)
        # It belongs to the training run, not to a checkpoint.
        auroc = auroc_cell(result.metrics, data_card) if rule == LAST else TableCell("")
        cost = cost_text(result.record.get("image_passes"), result.record.get("seconds"))
        row[0] = replace(row[0], cost=cost)
        has_values = result.metrics["checkpoints"].get(rule.key) is not None
        labels = result.metrics.get("bias_labels")
        text = bias_labels_text(labels, rule if has_values else None)
        rows.append((result.name, text, [*row, auroc]))
    return rows


# --- Sentences ------------------------------------------------------------------------------------


def _tests_in_words(results: Sequence[MethodResult]) -> str:
    """Return the result of the significance tests at the last step, "" if there are none.

    Oracles are not ranked.
    """
    headline = results[0].metrics["headline"]
    values: dict[str, dict[int, float]] = {}
    for each in results:
        per_seed = known(last_step(each.metrics)[headline]["per_seed"])
        # Metrics of earlier versions lack the seeds.
        seeds = each.metrics.get("seeds", [])
        if len(seeds) == len(per_seed) and not each.is_oracle:
            values[each.name] = dict(zip(seeds, per_seed, strict=True))
    verdict = find_best(values)
    if verdict is None or not any(each["seeds"] > 1 for each in verdict.comparisons):
        return ""
    return verdict_in_words(verdict.best, verdict.marked, verdict.comparisons)


@dataclass(frozen=True)
class Finding:
    """What a comparison of a method with the first method shows.

    Attributes:
        sentence: both sides of the trade.
        note: what the values rest on, "" if there is nothing to say.
    """

    sentence: str
    note: str


def findings(results: Sequence[MethodResult]) -> list[Finding]:
    """Return a sentence for each method but the first, which compares it with the first.

    Args:
        results: of each method, the baseline first; the last step is compared.
    """
    return [_finding(results[0], other) for other in results[1:]]


def _finding(of_baseline: MethodResult, of_other: MethodResult) -> Finding:
    other_name, baseline_name = (
        name_with_oracle(each.name, each.is_oracle) for each in (of_other, of_baseline)
    )
    baseline, other = of_baseline.metrics, of_other.metrics
    test_split = "the unbiased test split" if baseline.get("unbiased_test") else "the test split"
    sides = _sides(
        baseline,
        other,
        {"conflicting_accuracy": "images against the bias", "aligned_accuracy": "those with it"},
    )
    if "conflicting_accuracy" not in sides:
        sides = _sides(baseline, other, {"accuracy": test_split})
    if not sides:
        sentence = f"{other_name} and {baseline_name} cannot be compared: an accuracy is missing."
        return Finding(sentence, "")
    single = [each["method"] for each in (other, baseline) if seed_count(each) == 1]
    notes = [
        f"{metric_text(key, None).accuracy_name} of {each['method']}: {count}."
        for key in sides
        for each in (other, baseline)
        if (count := evidence_in_words(last_step(each), key))
    ]
    if single:
        notes.append(f"One seed of {' and of '.join(single)}: the spread over seeds is not known.")
    return Finding(
        f"{other_name} against {baseline_name}: {', '.join(sides.values())}.", " ".join(notes)
    )


def _sides(baseline: Metrics, other: Metrics, compared: Mapping[Metric, str]) -> dict[Metric, str]:
    """Return "+34.9 points on images … (56.5 instead of 21.6 %)" for each metric that is known.

    Args:
        baseline: metrics of the method to compare with.
        other: metrics of the other method.
        compared: metric → its images.
    """
    sides: dict[Metric, str] = {}
    for key, images in compared.items():
        mine, base = last_step(other).get(key), last_step(baseline).get(key)
        if not mine or not base or mine["mean"] is None or base["mean"] is None:
            continue
        difference = mine["mean"] - base["mean"]
        values = f"{100 * mine['mean']:.1f} instead of {percentage(base['mean'])}"
        spread = _spread_in_words(difference, mine, base)
        sides[key] = f"{points(difference)} points on {images} ({values}{spread})"
    return sides


def _spread_in_words(difference: float, mine: OverSeeds, base: OverSeeds) -> str:
    """Compare a difference of means with the spread over seeds."""
    if mine["std"] is None or base["std"] is None:
        return ""
    spread = (mine["std"] ** 2 + base["std"] ** 2) ** 0.5
    if abs(difference) <= spread:
        return f"; within the spread over seeds, ± {100 * spread:.1f} points"
    return ""
