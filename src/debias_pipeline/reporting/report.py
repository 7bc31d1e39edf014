"""HTML reports: one file, no script, no request to anywhere."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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
from debias_pipeline.reporting.names import full_attribute_name
from debias_pipeline.reporting.pages import data_address, render
from debias_pipeline.reporting.wording import (
    AUROC,
    BIAS_BRANCH,
    METRIC_BY_KEY,
    NO_SELECTION,
    PROTOCOLS,
    PUBLISHED_PROTOCOL,
    UNBIASED_ACCURACY,
    Metric,
    Protocol,
    metrics_with_headline_first,
)

_MOST_GROUPS = 400


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


@dataclass(frozen=True)
class FigureText:
    """What a page says about a figure.

    Attributes:
        title: its heading.
        caption: how to read it.
        alt: what it shows, for those who can't see it.
        without: why it may be left out, one sentence.
    """

    title: str
    caption: str
    alt: str
    without: str


_NO_WEIGHTS = "Left out: this method gives no weights to training images."
_NO_BIAS_LABELS = "Left out: the test images carry no bias labels, so there are no groups."
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
        "Solid lines are the unbiased test split, thin dashed lines the validation split, which is "
        "as biased as the training split and so flatters a model that learned the shortcut. "
        "Stars mark the best step on the test set, which no one may select by.",
        "Line chart of unbiased, bias-aligned and bias-conflicting accuracy against step",
        "Left out: there is no history.",
    ),
    "group_heat_map": FigureText(
        "Accuracy by group",
        "Accuracy (%) of the last step by label and bias, mean over seeds; darker is "
        "better. Bias-aligned groups have a blue outline; a dash is a group without test "
        "images. A column that is dark only "
        "where it is outlined is a bias attribute that the model takes for the label.",
        "Heat map of accuracy by label (rows) and bias (columns)",
        _NO_BIAS_LABELS,
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
_COMPARISON_FIGURES = {
    "compared_metrics": FigureText(
        "Metrics at the last step",
        "All on the test split. The gap between aligned and conflicting is the cost of the "
        "shortcut.",
        "Chart of unbiased, aligned, conflicting and worst-group accuracy by method",
        "Left out: there are no metrics.",
    ),
    "compared_learning_curves": FigureText(
        "Learning curves",
        "Accuracy on the test split. Line: mean over seeds. Band: lowest to highest seed.",
        "Line charts of unbiased and bias-conflicting accuracy against step by method",
        "Left out: there is no history.",
    ),
    "compared_group_heat_maps": FigureText(
        "Accuracy by group",
        "Accuracy (%) of the last step by label and bias, mean over seeds; darker is "
        "better. Bias-aligned groups have a blue outline.",
        "Heat maps of accuracy by label and bias, one for each method",
        _NO_BIAS_LABELS,
    ),
}


def write_method_report(
    metrics: Mapping[str, Any],
    figures: Mapping[str, str],
    history: pd.DataFrame,
    group_accuracy: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: Mapping[str, Any],
    recipe: Mapping[str, Any],
    published_accuracy: float | None = None,
) -> str:
    """Write one method's report.

    Args:
        metrics: the method's metrics; fractions in 0..1.
        figures: SVG text or `data:` addresses by name, from `draw_figures`.
        history: a row per evaluation step and seed; tells which seeds were run.
        group_accuracy: a row per checkpoint, seed, label and bias; may be empty.
        manifest: tells which groups are bias-aligned.
        data_card: what is worth knowing about the data set.
        recipe: hyper-parameters by name.
        published_accuracy: fraction in the paper's Table 1, where it has one.

    Returns:
        A whole HTML page that loads nothing.
    """
    groups = _group_rows(group_accuracy, manifest, data_card)
    return render(
        "method_report.html.jinja",
        metrics=metrics,
        columns=metrics_with_headline_first(metrics["headline"]),
        rows=_protocol_rows(metrics, published_accuracy),
        published=known(published_accuracy) is not None,
        auroc=_auroc_cell(metrics),
        auroc_explained=AUROC,
        bias_branch=_bias_branch_finding(metrics, data_card),
        bias_branch_explained=BIAS_BRANCH,
        figures=_figures(_METHOD_FIGURES, figures),
        groups=groups[:_MOST_GROUPS],
        groups_in_all=len(groups),
        recipe={key: _plain(value) for key, value in recipe.items()},
        command=_command(metrics["method"], metrics, history),
        **_about_data([metrics], data_card),
    )


def write_comparison_report(
    metrics: Sequence[Mapping[str, Any]],
    figures: Mapping[str, str],
    histories: Mapping[str, pd.DataFrame],
    data_card: Mapping[str, Any],
    published: Mapping[str, float | None] | None = None,
) -> str:
    """Write the report that compares several methods with the first.

    Args:
        metrics: of each method on the same data set, the baseline first.
        figures: SVG text or `data:` addresses by name, from `draw_comparison_figures`.
        histories: each method's history, by method; tells which seeds were run.
        data_card: what is worth knowing about the data set.
        published: fraction in the paper's Table 1 by method, where it has one.

    Returns:
        A whole HTML page that loads nothing.

    Raises:
        ValueError: if there are no metrics.
    """
    if not metrics:
        raise ValueError("A comparison needs the metrics of at least one method.")
    published = published or {}
    baseline = metrics[0]
    return render(
        "comparison_report.html.jinja",
        metrics=baseline,
        methods=[of_method["method"] for of_method in metrics],
        columns=metrics_with_headline_first(baseline["headline"]),
        sections=_comparison_sections(metrics, published),
        published=any(known(value) is not None for value in published.values()),
        findings=findings(metrics),
        auroc_explained=AUROC,
        figures=_figures(_COMPARISON_FIGURES, figures),
        commands=[_command(m["method"], m, histories[m["method"]]) for m in metrics],
        **_about_data(metrics, data_card),
    )


def findings(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the figures say of each method against the first, one plain sentence each.

    Args:
        metrics: of each method, the baseline first; fractions in 0..1.

    Returns:
        A sentence for each method but the first, about the last step.
    """
    return [_finding(metrics[0], other) for other in metrics[1:]]


def _finding(baseline: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    names = other["method"], baseline["method"]
    for key, images in (
        ("conflicting_accuracy", "bias-conflicting test images"),
        ("accuracy", "the unbiased test split"),
    ):
        mine, base = (m["checkpoints"]["last"][key] for m in (other, baseline))
        mean, base_mean = known(mine["mean"]), known(base["mean"])
        if mean is None or base_mean is None:
            continue
        difference = mean - base_mean
        return (
            f"On {images} {names[0]} gets {percentage(mean)}, {names[1]} "
            f"{percentage(base_mean)}: {_in_words(difference)}{_spread(difference, mine, base)}."
        )
    return f"{names[0]} and {names[1]} can't be compared: an accuracy is missing."


def _in_words(difference: float) -> str:
    size = f"{abs(100 * difference):.1f}"
    if size == "0.0":
        return "no difference"
    return f"{size} points {'more' if difference > 0 else 'fewer'}"


def _spread(difference: float, mine: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """What seeds have to say about a difference of means."""
    stds = known(mine["std"]), known(base["std"])
    if stds[0] is None or stds[1] is None:
        return " (one seed: how far seeds differ is not known)"
    spread = (stds[0] ** 2 + stds[1] ** 2) ** 0.5
    if abs(difference) <= spread:
        return f", which is within the spread over seeds (± {100 * spread:.1f} points)"
    return ""


def _protocol_rows(
    metrics: Mapping[str, Any], published: float | None
) -> list[tuple[Protocol, list[Cell]]]:
    return [(protocol, _cells(metrics, protocol, published)) for protocol in PROTOCOLS]


def _cells(metrics: Mapping[str, Any], protocol: Protocol, published: float | None) -> list[Cell]:
    """A row: the headline, the published figure where there is one, the other metrics, the step."""
    checkpoint = metrics["checkpoints"].get(protocol.key)
    ordered = metrics_with_headline_first(metrics["headline"])
    cells = [_metric_cell(checkpoint, metric) for metric in ordered]
    if known(published) is not None:
        cells.insert(1, _published_cell(checkpoint, protocol, metrics["headline"], published))
    return [*cells, _step_cell(checkpoint)]


def _metric_cell(checkpoint: Mapping[str, Any] | None, metric: Metric) -> Cell:
    if checkpoint is None:
        return Cell(DASH, f"no checkpoint: {NO_SELECTION}")
    summary = checkpoint.get(metric.key)
    text = percentage_over_seeds(summary)
    if text == DASH:
        return Cell(DASH, f"no figure: {metric.needs}")
    return Cell(text, f"by seed: {seed_values(summary)}")


def _published_cell(
    checkpoint: Mapping[str, Any] | None,
    protocol: Protocol,
    headline: str,
    published: float | None,
) -> Cell:
    if not protocol.leaks or published is None:
        why = "the published figure is best over evaluation steps on the test set"
        return Cell(DASH, why, published=True)
    mean = known(checkpoint[headline]["mean"]) if checkpoint else None
    note = "" if mean is None else f"measured {points(mean - published)}"
    return Cell(percentage(published, 2), PUBLISHED_PROTOCOL, note, published=True)


def _step_cell(checkpoint: Mapping[str, Any] | None) -> Cell:
    if checkpoint is None:
        return Cell(DASH, f"no checkpoint: {NO_SELECTION}")
    return Cell(steps_over_seeds(checkpoint["step"]), "lowest to highest over seeds")


def _auroc_cell(metrics: Mapping[str, Any]) -> Cell:
    text = mean_and_std(metrics.get("conflict_detection_auroc"), 1, 3)
    if text == DASH:
        return Cell(DASH, "needs a method that weighs training images, and their bias labels")
    return Cell(text)


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


def _comparison_sections(
    metrics: Sequence[Mapping[str, Any]], published: Mapping[str, float | None]
) -> list[tuple[Protocol, list[tuple[str, list[Cell]]]]]:
    with_published = any(known(value) is not None for value in published.values())
    sections = []
    for protocol in PROTOCOLS:
        rows = []
        for of_method in metrics:
            cells = _compared_cells(of_method, metrics[0], protocol)
            if with_published:
                cells.insert(1, _compared_published(of_method, protocol, published))
            rows.append((of_method["method"], cells))
        sections.append((protocol, rows))
    return sections


def _compared_cells(
    metrics: Mapping[str, Any], baseline: Mapping[str, Any], protocol: Protocol
) -> list[Cell]:
    checkpoint = metrics["checkpoints"].get(protocol.key)
    base = baseline["checkpoints"].get(protocol.key)
    cells = []
    for metric in metrics_with_headline_first(baseline["headline"]):
        cell = _metric_cell(checkpoint, metric)
        note = "" if metrics is baseline else _difference(checkpoint, base, metric.key)
        cells.append(Cell(cell.text, cell.title, note))
    return [*cells, _step_cell(checkpoint), _auroc_cell(metrics)]


def _difference(
    checkpoint: Mapping[str, Any] | None, base: Mapping[str, Any] | None, key: str
) -> str:
    if checkpoint is None or base is None:
        return ""
    mean, base_mean = known(checkpoint[key]["mean"]), known(base[key]["mean"])
    return "" if mean is None or base_mean is None else points(mean - base_mean)


def _compared_published(
    metrics: Mapping[str, Any], protocol: Protocol, published: Mapping[str, float | None]
) -> Cell:
    figure = known(published.get(metrics["method"]))
    if figure is None:
        why = "the paper's Table 1 has no figure for this method here"
        return Cell(DASH, why, published=True)
    checkpoint = metrics["checkpoints"].get(protocol.key)
    return _published_cell(checkpoint, protocol, metrics["headline"], figure)


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


def _about_data(
    metrics: Sequence[Mapping[str, Any]], data_card: Mapping[str, Any]
) -> dict[str, Any]:
    """What the templates of both reports need to know of the data set."""
    return {
        "card": data_card,
        "facts": _facts(data_card),
        "splits": _split_rows(data_card),
        "warning": _test_split_warning(data_card),
        "seeds": _seeds_in_words(metrics),
        "headline": METRIC_BY_KEY[metrics[0]["headline"]],
        "unbiased_accuracy": UNBIASED_ACCURACY,
        "published_protocol": PUBLISHED_PROTOCOL,
    }


def _seeds_in_words(metrics: Sequence[Mapping[str, Any]]) -> str:
    counts = {
        each["method"]: len(each["checkpoints"]["last"]["accuracy"]["per_seed"]) for each in metrics
    }
    if len(set(counts.values())) > 1:
        of_each = ", ".join(f"{method} {count}" for method, count in counts.items())
        return f"mean ± standard deviation over seeds, of which there are: {of_each}"
    count = next(iter(counts.values()))
    if count == 1:
        return "one seed, so no standard deviation"
    return f"mean ± standard deviation over {count} seeds"


def _facts(data_card: Mapping[str, Any]) -> dict[str, str]:
    height, width, *_ = data_card["image_shape"]
    facts = {
        "Data set": f"{data_card['dataset']}, {data_card['percent']}",
        "Label": _attribute(data_card, "label"),
        "Bias attribute": _attribute(data_card, "bias"),
        "Images": f"{height} pixels high, {width} wide",
        "Origin": str(data_card["origin"]),
        "Seed of the data": str(data_card["seed"]),
    }
    return {name: text for name, text in facts.items() if text not in ("", "None")}


def _attribute(data_card: Mapping[str, Any], attribute: str) -> str:
    names = [str(name) for name in data_card[f"{attribute}_names"]]
    name = data_card[f"{attribute}_name"]
    if not names:
        return f"{name}: not labelled"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"{name}, {len(names)} values: {shown}"


def _split_rows(data_card: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for split, facts in data_card["splits"].items():
        count, fraction = known(facts.get("conflicting")), known(facts.get("conflicting_fraction"))
        text = DASH if count is None else f"{count:,.0f}"
        rows.append((split, f"{facts['images']:,}", text, percentage(fraction, 2)))
    return rows


def _test_split_warning(data_card: Mapping[str, Any]) -> str:
    """Whether the test split deserves the word unbiased, as far as the card can tell."""
    test = data_card["splits"].get("test", {})
    fraction = known(test.get("conflicting_fraction"))
    if fraction is None:
        return (
            "The test images carry no bias labels, so whether their bias is independent of the "
            "label can't be checked here. If the test split is as biased as the training split, "
            "the accuracy below is flattering."
        )
    values = len(data_card["bias_names"])
    # With k bias values, independence of a uniform bias leaves 1 - 1/k of the images conflicting.
    if values > 1 and fraction < 0.5 * (1 - 1 / values):
        return (
            f"Only {percentage(fraction)} of the test images are bias-conflicting: the test split "
            "is biased itself, so go by the group-balanced, conflicting and worst-group accuracy."
        )
    return ""


def _figures(texts: Mapping[str, FigureText], figures: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "title": text.title,
            "caption": text.caption,
            "alt": text.alt,
            "without": text.without,
            "source": data_address(figures[name]) if name in figures else "",
        }
        for name, text in texts.items()
        if name in figures or text.without
    ]


def _command(method: str, metrics: Mapping[str, Any], history: pd.DataFrame) -> str:
    seeds = sorted(int(seed) for seed in history["seed"].unique())
    parameters = [f"dataset={metrics['dataset']}", f"percent={metrics['percent']}"]
    if seeds:
        parameters += [f"seed={seeds[0]}", f"seeds={len(seeds)}"]
    pipeline, params = shlex.quote(f"{method}"), shlex.quote(",".join(parameters))
    return f"kedro run --pipeline={pipeline} --params {params}"


def _plain(value: Any) -> str:
    """A recipe's value as one would type it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
