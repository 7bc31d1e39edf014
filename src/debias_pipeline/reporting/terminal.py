"""Tables in the terminal after a run: metrics of methods, and the leaderboard."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from debias_pipeline.names import DONE, Metric
from debias_pipeline.records import (
    DataCard,
    LabelEstimates,
    Metrics,
    RuleMetrics,
    Tuning,
)
from debias_pipeline.reporting.conditions import (
    bias_labels_text,
    collapsed_of,
    collapsed_sentences,
)
from debias_pipeline.reporting.leaderboard.rows import Leaderboard, LeaderboardRow
from debias_pipeline.reporting.leaderboard.sections import (
    Section,
    accuracy_text,
    passes_of,
    percent_name,
    progress_in_words,
    published_text,
    sections,
)
from debias_pipeline.reporting.metric_table import (
    COMPARED,
    MethodResult,
    TableCell,
    attribute_rows,
    auroc_cell,
    evidence_in_words,
    few_images_text,
    is_unreliable,
    last_step,
    metric_text,
    published_sources,
    seed_count,
    unreliable_rules,
)
from debias_pipeline.reporting.pages.page import (
    recipe_banner,
    shared_bias_in_words,
    test_split_warning,
)
from debias_pipeline.reporting.pages.suspect_section import estimate_rows, estimates_in_words
from debias_pipeline.reporting.text import (
    DASH,
    FEW_IMAGES,
    counted,
    duration,
    mean_and_std,
    median_text,
    passes_text,
    title_of,
)
from debias_pipeline.selection_rules import (
    BEST_ON_TEST,
    LAST,
    MIN_SUPPORT,
    SELECTION_RULES,
    SelectionRule,
)


def plain_table(title: str = "", *, caption: Text | None = None, gap: int = 1) -> Table:
    """Return an empty table with a line under its header and no other lines.

    Args:
        title: above the table, in bold.
        caption: below the table.
        gap: number of spaces between two columns.
    """
    return Table(
        title=Text(title, style="bold") if title else None,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )


# --- The search for hyper-parameters --------------------------------------------------------------


def tuning_table(tuning: Tuning) -> Table:
    """Return the best trial of every method of a search."""
    images, marked = tuning["conflicting_images"], tuning["conflicting_images"] < MIN_SUPPORT
    pseudo = "pseudo-" if tuning["bias_labels"] == "none" else ""
    caption = (
        f"Score: harmonic mean of the accuracies on {pseudo}aligned and {pseudo}conflicting "
        f"validation images, of the networks of the rule {tuning['selection']}. No test image was "
        f"read. Scores rest on {counted(images, pseudo + 'conflicting image')}"
        + (" (?: few, so that differences are mostly chance)." if marked else ".")
    )
    table = plain_table(f"{tuning['title']}: best values", caption=Text(caption), gap=2)
    table.add_column("Method", style="bold", overflow="fold")
    table.add_column("Validation score", justify="right")
    table.add_column("Own recipe", justify="right")
    table.add_column("Trials", justify="right")
    table.add_column("Best values", overflow="fold")
    for method, found in tuning["methods"].items():
        first, best = found["trials"][0], found["best"]
        scores = [
            DASH if each is None or each["score"] is None else f"{each['score']:.3f}{' ?' * marked}"
            for each in (best, first)
        ]
        failed = f", {found['failed']} failed" if found["failed"] else ""
        trials = f"{len(found['trials'])}{failed}"
        values = ", ".join(
            f"{name}={value}" for name, value in (best or {"values": {}})["values"].items()
        )
        table.add_row(method, *scores, trials, Text(values or "all trials failed"))
    return table


# --- Metrics of the methods of a run --------------------------------------------------------------


def headline_table(results: Sequence[MethodResult], data_card: DataCard) -> Table:
    """Return the accuracies of every method by selection rule, in per cent; it fits 80 columns.

    Args:
        results: results of each method on the same data set.
        data_card: data card of the data set.

    Raises:
        ValueError: if there are no results.
    """
    if not results:
        raise ValueError("results=[] is empty; a table needs the metrics of at least one method")
    first = results[0].metrics
    title = f"{title_of(first)}: test accuracy in %"
    table = plain_table(title, caption=_caption(results, data_card))
    table.add_column("Method", style="bold", overflow="fold", min_width=7)
    table.add_column("Checkpoint")
    for key in COMPARED:
        style = "bold" if key == first["headline"] else ""
        name = metric_text(key, first.get("unbiased_test")).name.replace(" ", "\n")
        # The worst group differs from row to row.
        count = "" if key == "worst_group_accuracy" else few_images_text(first, key)
        table.add_column(f"{name}\n{count}".strip(), justify="right", style=style)
    table.add_column("AUROC", justify="right")
    for result in sorted(results, key=lambda each: each.is_oracle):
        _add_method(table, result, data_card)
    return table


def _add_method(table: Table, result: MethodResult, data_card: DataCard) -> None:
    metrics, published = result.metrics, result.shown_published
    for rule in SELECTION_RULES.values():
        selected = metrics["checkpoints"].get(rule.key)
        table.add_row(
            Text(metrics["method"]) if rule == LAST else "",
            _rule_name(rule, metrics),
            *_values(selected, metrics["headline"]),
            _auroc(auroc_cell(metrics, data_card)) if rule == LAST else "",
            end_section=rule == BEST_ON_TEST and published is None,
        )
    if published is not None:
        values = [
            f"{100 * published['accuracy']:.2f}" if key == published["metric"] else ""
            for key in COMPARED
        ]
        table.add_row("", "published†", *values, "", style="dim", end_section=True)


def _conditions(result: MethodResult) -> str:
    """Return the bias labels that a method uses and its cost, "" if they are not recorded."""
    labels, passes = result.metrics.get("bias_labels"), result.record.get("image_passes")
    parts = []
    if labels is not None:
        kind = " (oracle)" if result.is_oracle else ""
        parts.append(f"bias labels {bias_labels_text(labels)}{kind}")
    if passes is not None:
        parts.append(f"{passes_text(passes)} images")
    if "seconds" in result.record:
        parts.append(duration(result.record["seconds"]))
    return f"{result.name}: {', '.join(parts)}" if parts else ""


def _rule_name(rule: SelectionRule, metrics: Metrics) -> str:
    selected = metrics["checkpoints"].get(rule.key)
    marks = "*" if rule.leaks else "?" if is_unreliable(selected) else ""
    return f"{rule.name}{marks}{'!' if collapsed_of(metrics, rule) else ''}"


def _values(selected: RuleMetrics | None, headline: Metric) -> list[Text]:
    if selected is None:
        return [Text(DASH)] * len(COMPARED)
    texts = []
    for key in COMPARED:
        values, count = selected[key], evidence_in_words(selected, key).removesuffix(" %")
        if count and key == "worst_group_accuracy":
            count += f" n {selected['evidence'][key]['images']}"
        text = _with_interval(mean_and_std(values["mean"], values["std"]), count)
        middle = median_text(values["per_seed"]) if key == headline else ""
        if middle:
            text.append(f"\n{middle.replace('median', 'med.')}", "dim")
        texts.append(text)
    return texts


def _auroc(cell: TableCell) -> Text:
    # Without deviation and leading zeros, to fit 80 columns.
    return _with_interval(cell.text.split(" ")[0], cell.count.replace("0.", "."))


def _with_interval(value: str, count: str) -> Text:
    """Return a value, with the interval of `count` below it: "34–100" of "2 of 2; 34–100"."""
    interval = count.rpartition("; ")[2]
    return Text.assemble(value, (f"\n{interval}" if interval else "", "dim"))


def _caption(results: Sequence[MethodResult], data_card: DataCard) -> Text:
    metrics = [each.metrics for each in results]
    accuracy = metric_text("accuracy", metrics[0].get("unbiased_test"))
    several = any(seed_count(each) > 1 for each in metrics)
    seeds = " ± is the standard deviation over seeds." if several else ""
    lines = [f"{accuracy.name} is the {accuracy.explanation}.{seeds}"]
    lines += filter(None, map(_conditions, results))
    rows = [
        f"{name} {texts[2].removesuffix(' %')} ({method})"
        for name, method, texts in attribute_rows(metrics)
    ]
    if rows:
        lines.append(
            f"Bias here: {data_card['bias_name']}. Conflicting accuracy at the last step by bias "
            f"attribute: {', '.join(rows)}."
        )
    if any(each.record.get("image_passes") for each in results):
        lines.append(
            "Images: forward + backward through networks in training, of one seed. Time: of "
            "training, of all seeds together."
        )
    if _rests_on_few(metrics, data_card):
        lines.append(
            "Below a value that rests on few images: a 95 % interval for the chance in the choice "
            "of images; n: images in the worst group."
        )
    if metrics[0]["headline"] != "accuracy":
        quoted = metric_text(metrics[0]["headline"], None).name.lower()
        lines.append(f"Published tables quote {quoted} accuracy for this data set.")
    if any(each["conflict_detection_auroc"]["mean"] is not None for each in metrics):
        lines.append(f"AUROC: how well weights rank {_ranked(data_card)} first.")
    lines.append(f"* {BEST_ON_TEST.description}")
    lines += [f"? {warning}" for warning in unreliable_rules(metrics)]
    lines += [f"! {sentence}" for sentence in collapsed_sentences(metrics)]
    lines += [f"† {source}" for source in published_sources(results)]
    warnings = [
        *filter(None, [test_split_warning(metrics, data_card)]),
        *shared_bias_in_words(data_card),
        *recipe_banner(results),
    ]
    parts = [(f"{warning}\n", "yellow") for warning in warnings]
    return Text.assemble(*parts, ("\n".join(lines), "dim"))


def _rests_on_few(metrics: Sequence[Metrics], data_card: DataCard) -> bool:
    return any(
        auroc_cell(each, data_card).count
        or any(evidence_in_words(last_step(each), key) for key in COMPARED)
        for each in metrics
    )


def _ranked(data_card: DataCard) -> str:
    count = data_card["splits"]["train"]["conflicting"] or 0
    images = "bias-conflicting training images"
    return f"the {count} {images}" if count < FEW_IMAGES else images


# --- The leaderboard ------------------------------------------------------------------------------


def terminal_leaderboard(leaderboard: Leaderboard) -> Group:
    """Return a table per data set with the headline metric in per cent.

    Four percents fit 80 columns; values with marks may break at a space there.
    """
    parts: list[Table | Text] = []
    shown = sections(leaderboard)
    for section in shown:
        # Title and caption of the table itself would be as narrow as the table.
        title = Text(f"{section.name}: {section.headline_name.lower()} in %", style="bold")
        parts += [title, _leaderboard_table(section), _leaderboard_caption(section)]
    places = [
        Text(f"{section.name}: {place}", style="bold")
        for section in shown
        for place in section.places
    ]
    return Group(*parts, Text(progress_in_words(leaderboard["rows"])), *places)


def _leaderboard_table(section: Section) -> Table:
    table = plain_table()
    table.add_column("Checkpoint")
    table.add_column("Method", style="bold", overflow="fold", min_width=7)
    for percent in section.percents:
        table.add_column(Text(percent_name(percent)), justify="right")
    for of_rule in section.tables:
        name = of_rule.rule.name + ("*" if of_rule.rule.leaks else "")
        for position, (method, rows) in enumerate(of_rule.rows):
            mark = "°" if method in of_rule.oracles else ""
            shown = Text(f"{method}{mark}")
            table.add_row("" if position else name, shown, *map(_accuracy, rows))
            published = [published_text(row) if row else "" for row in rows]
            if any(published):
                table.add_row("", "published†", *published, style="dim")
        table.add_section()
    for position, (method, rows) in enumerate(section.tables[0].rows):
        table.add_row("" if position else "cost", Text(method), *map(_cost, rows), style="dim")
    return table


def _cost(row: LeaderboardRow | None) -> str:
    if row is None or row["seconds"] is None:
        return ""
    passes = passes_of(row)
    return duration(row["seconds"]) + (
        f"\n{passes_text(passes).replace(' + ', '+')}" if passes else ""
    )


def _accuracy(row: LeaderboardRow | None) -> Text:
    if row is None:
        return Text("")
    if row["mean"] is None:
        return Text(accuracy_text(row) if row["status"] == DONE else row["status"], style="dim")
    best = row["is_best"]
    text = Text(f"{accuracy_text(row)}{'‡' if best else ''}", style="bold" if best else "")
    if middle := median_text(row["per_seed"]):
        text.append(f"\n{middle.replace('median', 'med.')}", "not bold dim")
    return text


def _leaderboard_caption(section: Section) -> Text:
    rows = [row for table in section.tables for _, of_method in table.rows for row in of_method]
    several = any(row is not None and (row["n_seeds"] or 0) > 1 for row in rows)
    lines = ["± is the standard deviation over seeds."] if several else []
    lines.append("cost: time of a trial; images forward+backward through networks, of one seed")
    lines += _labels_in_words(section)
    lines.append(f"* {BEST_ON_TEST.description}")
    collapsed = [table.collapsed for table in section.tables if table.collapsed]
    lines += dict.fromkeys(collapsed)
    # One line, since a sentence for each table would be longer than the tables.
    if any(table.unreliable for table in section.tables):
        images = f"fewer than {MIN_SUPPORT} conflicting or pseudo-conflicting validation images"
        lines.append(f"? unreliable: based on {images}; see the page")
    sources = [source for table in section.tables for source in table.sources]
    lines += [f"† {source}" for source in dict.fromkeys(sources)]
    if any(row is not None and row["is_best"] for row in rows):
        lines.append("‡ significantly best: paired t-test over seeds, corrected; see the page")
    lines += filter(None, [section.few_images, section.warning])
    lines += [*section.recipe_banner, *section.failures, *section.references]
    return Text("\n".join(lines), style="dim")


def _labels_in_words(section: Section) -> list[str]:
    """Return which methods use which bias labels, if that is known."""
    methods: dict[str, list[str]] = {}
    for method, rows in section.tables[0].rows:
        row = next(each for each in rows if each is not None)
        if text := bias_labels_text(row.get("bias_labels")):
            methods.setdefault(text, []).append(method)
    if not methods:
        return []
    of_each = "; ".join(f"{text} ({', '.join(names)})" for text, names in methods.items())
    oracles = section.tables[0].oracles
    return [f"bias labels used: {of_each}"] + (["° oracle: not ranked"] if oracles else [])


def verdict_text(verdict: Mapping[str, Any]) -> Group:
    """Return the verdict of an audit and its evidence for the terminal.

    Args:
        verdict: see `audit.Verdict`.
    """
    evidence = [Text(f"- {line}") for line in verdict["evidence"]]
    return Group(Text(verdict["sentence"], style="bold"), *evidence)


def estimates_text(name: str, estimates: LabelEstimates) -> Group:
    """Return group accuracies that are estimated from labelled images for the terminal.

    Args:
        name: name of the method.
        estimates: of at least one labelled image.
    """
    rows = [Text(f"- {what}: {value} ({of})") for what, value, of in estimate_rows(estimates)]
    return Group(Text(f"{name}: {estimates_in_words(estimates)}", style="bold"), *rows)
