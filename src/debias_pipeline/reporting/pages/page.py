"""HTML pages: rendering of templates, figures, and the section about the data set.

A page is one file, which loads no other files. It runs only the scripts given to `render`: their
hashes are in its content security policy, so that no text from data can run as a script.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from debias_pipeline.records import DataCard, Metrics
from debias_pipeline.reporting.conditions import (
    BIAS_LABELS_EXPLAINED,
    COLLAPSED_EXPLAINED,
    collapsed_sentences,
)
from debias_pipeline.reporting.figures.charts import Chart, chart_library
from debias_pipeline.reporting.metric_table import (
    MethodResult,
    metric_text,
    seed_count,
    unreliable_rules,
)
from debias_pipeline.reporting.recipe_changes import changes_in_words
from debias_pipeline.reporting.text import (
    DASH,
    FEW_IMAGES,
    Attribute,
    attribute_name,
    left_out_in_words,
    percentage,
    title_of,
)
from debias_pipeline.selection_rules import SELECTION_RULES

# Name of the <meta> element in which a page says what it shows, see `index_page.About`.
ABOUT: Final = "debias-pipeline"


def render(template: str, *, scripts: Sequence[str] = (), **values: Any) -> str:
    """Return a filled template; values are escaped.

    Args:
        template: name of a file in templates/.
        scripts: JavaScript of the page, see `page_scripts`.
        values: variables of the template; all have `about`, see `index_page.About`.
    """
    hashes = " ".join(f"'sha256-{_script_hash(script)}'" for script in scripts)
    return (
        _environment()
        .get_template(template)
        .render(
            about_name=ABOUT,
            scripts=scripts,
            script_sources=f"; script-src {hashes}" if hashes else "",
            **values,
        )
    )


@cache  # Compiling the templates takes longer than filling them.
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("debias_pipeline.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_scripts(*, with_charts: bool) -> list[str]:
    """Return the JavaScript of a report.

    Args:
        with_charts: whether the page has charts; their library has 0.9 MB.
    """
    own = files("debias_pipeline.reporting") / "templates" / "page.js"
    return [*([chart_library()] if with_charts else []), own.read_text("utf-8")]


def _script_hash(script: str) -> str:
    if "</script" in script.lower():
        raise ValueError("a script contains </script, which would end it; escape it")
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@dataclass(frozen=True)
class FigureText:
    """What a page says about a figure.

    Attributes:
        title: its heading.
        caption: how to read it.
        alt: a description for people who cannot see it.
        has_photos: whether it shows images, whose colours must stay; others are inverted on a dark
            page.
    """

    title: str
    caption: str
    alt: str
    has_photos: bool = False


@dataclass(frozen=True)
class FigureBlock:
    """A figure on a page.

    Attributes:
        name: id on the page.
        text: what the page says about it.
        source: address of the image.
        alt: what it shows, for people who cannot see it.
        chart: the same as an interactive chart, as values for JSON; None if there is none.
    """

    name: str
    text: FigureText
    source: str
    alt: str
    chart: dict[str, Any] | None


def figure_blocks(
    texts: Mapping[str, FigureText],
    figures: Mapping[str, str],
    charts: Mapping[str, Chart],
    results: Mapping[str, str] | None = None,
) -> list[FigureBlock]:
    """Return the figures of a page in the order of `texts`.

    Args:
        texts: what the page says about each figure, by name of the figure.
        figures: SVG text by name.
        charts: interactive charts that replace figures.
        results: what figures show, by name, as a sentence.
    """
    results = results or {}
    return [
        FigureBlock(
            name,
            text,
            data_address(figures[name]),
            ". ".join(filter(None, [text.alt, results.get(name)])),
            charts[name].as_json() if name in charts else None,
        )
        for name, text in texts.items()
        if name in figures
    ]


def data_address(svg: str) -> str:
    """Return SVG text as a `data:` address for an <img>, so that its ids differ from the page's."""
    return "data:image/svg+xml," + quote(svg, safe=" /=+,;()-._~!*")


def data_section(metrics: Sequence[Metrics], data_card: DataCard) -> dict[str, Any]:
    """Return the variables about the data set that the templates of both reports use.

    Args:
        metrics: metrics of each method on the page, at least one.
        data_card: data card of the data set.
    """
    return {
        "card": data_card,
        "title": title_of(data_card),
        "is_biased": is_biased(data_card),
        "facts": _facts(data_card),
        "splits": _split_rows(data_card),
        "warnings": [
            *filter(None, [test_split_warning(metrics, data_card)]),
            *shared_bias_in_words(data_card),
        ],
        "few_images": FEW_IMAGES,
        "collapsed": collapsed_sentences(metrics),
        "collapsed_explained": COLLAPSED_EXPLAINED,
        "bias_labels_explained": BIAS_LABELS_EXPLAINED,
        "seeds": _seeds_in_words(metrics),
        "unreliable": unreliable_rules(metrics),
        "headline": metric_text(metrics[0]["headline"], metrics[0].get("unbiased_test")),
    }


def switches(metrics: Sequence[Metrics], *, with_all: bool = False) -> dict[str, Any]:
    """Return the values of the switches of a page: selection rules and seeds.

    Args:
        metrics: metrics of each method on the page.
        with_all: whether all rules can be shown together.
    """
    rules = [
        (rule.key, rule.name)
        for rule in SELECTION_RULES.values()
        if any(each["checkpoints"].get(rule.key) for each in metrics)
    ]
    seeds = {tuple(each.get("seeds", [])) for each in metrics}
    return {
        "rules": [*rules, *([("all", "all")] if with_all else [])],
        "seeds": [str(seed) for seed in seeds.pop()] if len(seeds) == 1 else [],
    }


def _seeds_in_words(metrics: Sequence[Metrics]) -> str:
    counts = {each["method"]: seed_count(each) for each in metrics}
    if len(set(counts.values())) > 1:
        of_each = ", ".join(f"{method} {count}" for method, count in counts.items())
        return f"mean ± standard deviation over seeds (number of seeds: {of_each})"
    count = next(iter(counts.values()))
    if count == 1:
        return "one seed, so no standard deviation"
    return f"mean ± standard deviation over {count} seeds"


def _facts(data_card: DataCard) -> dict[str, str]:
    height, width, *_ = data_card["image_shape"]
    facts = {
        "Data set": title_of(data_card),
        "Label": _names_in_words(data_card, "label"),
        "Bias attribute": _names_in_words(data_card, "bias"),
        "Bias attributes": ", ".join(
            f"{name} ({len(names)} values)"
            for name, names in data_card.get("attributes", {}).items()
        ),
        "Images": f"{height} pixels high, {width} wide",
        "Origin": data_card["origin"],
        "Left out": left_out_in_words(data_card),
        "Seed of the data": str(data_card["seed"]),
    }
    return {name: text for name, text in facts.items() if text not in ("", "None")}


def _names_in_words(data_card: DataCard, attribute: Attribute) -> str:
    is_label = attribute == "label"
    name = data_card["label_name"] if is_label else data_card["bias_name"]
    names = data_card["label_names"] if is_label else data_card["bias_names"]
    if not names:
        return f"{name}: not labelled"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"{name}, {len(names)} values: {shown}"


def _split_rows(data_card: DataCard) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    for split, facts in data_card["splits"].items():
        count, fraction = facts.get("conflicting"), facts.get("conflicting_fraction")
        text = DASH if count is None else f"{count:,}"
        rows.append((split, f"{facts['images']:,}", text, percentage(fraction, 2)))
    return rows


def test_split_warning(metrics: Sequence[Metrics], data_card: DataCard) -> str:
    """Return why accuracy on the test split must not be called unbiased, "" if it may be.

    Args:
        metrics: metrics of each method on the data set.
        data_card: data card of the data set.
    """
    if metrics[0].get("unbiased_test"):
        return ""
    if "test_split" not in data_card:
        return (
            "This data set was made before test splits were checked for bias: "
            "kedro run --pipeline=ingestion with the same --params checks it."
        )
    test, association = data_card["splits"]["test"], data_card["test_split"]["association"]
    fraction = test["conflicting_fraction"]
    if fraction is None:
        return (
            "The test images have no bias labels, so it is not known whether their bias is "
            "independent of the label. If the test split is as biased as the training split, "
            "the accuracy shown here is too high."
        )
    if association is None:
        return (
            "It cannot be checked whether the bias of the test images is independent of their "
            "label: some of them have no bias label, or the label or the bias has only one value."
        )
    if data_card["test_split"]["unbiased"] is None:
        return (
            f"{test['images']:,} test images are too few to check whether their bias is "
            "independent of the label."
        )
    few = fraction < 0.5 * (1 - 1 / len(data_card["bias_names"]))
    return (
        f"{'Only ' if few else ''}{percentage(fraction)} of the test images are bias-conflicting, "
        f"and bias and label are associated (Cramér's V {association:.2f}; 0 if independent): "
        "the test split is biased itself, so use the group-balanced, conflicting and worst-group "
        "accuracy."
    )


def shared_bias_in_words(data_card: DataCard) -> list[str]:
    """Return a sentence for each bias value that is the aligned one of several labels.

    The bias does not tell these labels apart.
    """
    labels: dict[int, list[str]] = {}
    for label, bias in enumerate(data_card.get("aligned_bias", [])):
        if bias is not None:
            labels.setdefault(bias, []).append(attribute_name(data_card, "label", label))
    return [
        f"{attribute_name(data_card, 'bias', bias)} is the aligned {data_card['bias_name']} of "
        f"several labels ({', '.join(names)}), so it does not tell them apart. Their other "
        "images are bias-conflicting by definition only: a high accuracy on them, or a low one, "
        "does not show whether a model uses a shortcut."
        for bias, names in labels.items()
        if len(names) > 1
    ]


def recipe_banner(results: Iterable[MethodResult]) -> list[str]:
    """Return sentences about methods whose recipe differs from that in the project's files.

    Methods with the same changes share a sentence, see `recipe_sentences`.
    """
    return recipe_sentences(
        (each.name, changes_in_words(each.recipe_changes), each.shown_published is not None)
        for each in results
    )


def recipe_sentences(trials: Iterable[tuple[str, str, bool]]) -> list[str]:
    """Return sentences that say how recipes were changed; trials with the same change share one.

    Trials with an unchanged recipe are left out.

    Args:
        trials: name, `changes_in_words`, and whether a published accuracy is shown for the trial;
            the sentence then says that the accuracies are not comparable.
    """
    names: dict[tuple[str, bool], dict[str, None]] = {}
    for name, changed, is_published in trials:
        if changed:
            names.setdefault((changed, is_published), {})[name] = None
    return [
        f"{', '.join(of_change)}: not the "
        + ("published recipe" if is_published else "default recipe of this data set")
        + f", but {changed}."
        + (" The accuracies are not comparable with published ones." if is_published else "")
        for (changed, is_published), of_change in names.items()
    ]


def is_biased(data_card: DataCard) -> bool:
    """Return whether the bias is known to be correlated with the label in the training split.

    Fewer training images are bias-conflicting than if the bias were drawn at random.
    """
    fraction = data_card["splits"]["train"]["conflicting_fraction"]
    values = len(data_card["bias_names"])
    return fraction is not None and values > 1 and fraction < 0.9 * (1 - 1 / values)
