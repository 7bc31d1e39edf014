"""Interactive charts of a page, as Vega-Lite specifications with their data.

Colours are names of CSS variables, which templates/page.js replaces, so that charts follow the
colour scheme of the page. Specifications are plain dicts, as importing Altair takes seconds.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from debias_pipeline.names import Metric
from debias_pipeline.records import DataCard, Metrics
from debias_pipeline.reporting.figures.plots import (
    LINES,
    groups_of_bias,
    over_seeds,
    weights_by_image,
)
from debias_pipeline.reporting.metric_table import COMPARED, last_step, metric_text, selected_steps
from debias_pipeline.reporting.text import known
from debias_pipeline.selection_rules import SELECTION_RULES

# The value of a switch that shows the mean of all seeds.
MEAN: Final = "mean"
_SPLITS: Final = {"test": (), "valid": (5, 4)}
_CURVES: Final[tuple[tuple[Metric, str, str], ...]] = (
    ("accuracy", "all", "--overall"),
    ("aligned_accuracy", "bias-aligned", "--aligned"),
    ("conflicting_accuracy", "bias-conflicting", "--conflicting"),
)
METHODS: Final = 6  # number of variables --method-0, …
_DASHES: Final = dict(zip(LINES, ((), (6, 3), (7, 3, 2, 3), (2, 3)), strict=True))
_BINS: Final = 40
# Groups that are on a page; larger heat maps are no charts, but figures.
MOST_GROUPS: Final = 400
PERCENT: Final = ".1%"
# Filters of rows by the rule of the page's switch, and by what the legend hides.
OF_RULE: Final = {"filter": "datum.rule == rule"}
NOT_HIDDEN: Final = {"filter": "indexof(hidden, datum.series) < 0"}
ACCURACY: Final[Mapping[str, Any]] = {
    "type": "quantitative",
    "axis": {"format": "~%", "title": "accuracy"},
    "scale": {"domain": [0, 1], "nice": False},
}


@dataclass(frozen=True)
class Table:
    """Data of a chart: names of the columns, and rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Series:
    """What the legend of a chart can hide.

    Attributes:
        name: its text in the legend.
        colour: CSS variable of its colour.
        dash: dashes of its line.
        symbol: a character for the legend instead of a line.
    """

    name: str
    colour: str
    dash: Sequence[int] = ()
    symbol: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart of a page.

    Attributes:
        spec: Vega-Lite specification; it names its data as in `tables`. It may use the variables
            `rule` and `seed` (chosen by the switches of the page), `hidden` (names of the series
            that the legend hides), `choice`, and `flip` (accuracy above which a heat map needs the
            other text colour).
        tables: data by name, without `groups`: templates/page.js adds it, the groups of the page
            for the chosen rule and seed.
        series: series that the legend can hide.
        choices: values of the variable `choice` and their texts; the first one is the default.
        zooms: whether the chart can be moved and zoomed; `spec` then needs `layer`.
    """

    spec: Mapping[str, Any]
    tables: Mapping[str, Table] = field(default_factory=dict)
    series: Sequence[Series] = ()
    choices: Sequence[tuple[str, str]] = ()
    zooms: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the chart as values for JSON."""
        return asdict(self)


def by_series(series: Sequence[Series], values: Sequence[Any]) -> dict[str, Any]:
    """Return an encoding that gives each series a value, such as a colour."""
    scale = {"domain": [each.name for each in series], "range": values}
    return {"field": "series", "type": "nominal", "legend": None, "scale": scale}


def chart_library() -> str:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed, 0.9 MB.

    Building it takes seconds; vl-convert keeps it for the process.
    """
    import vl_convert

    # The type hints of the package have a default for neither argument.
    return vl_convert.javascript_bundle()  # type: ignore[call-arg]


# --- Charts of one method -------------------------------------------------------------------------


def method_charts(
    metrics: Metrics,
    history: pd.DataFrame,
    sample_weights: pd.DataFrame,
    weight_name: str,
    group_accuracy: pd.DataFrame,
    data_card: DataCard,
) -> dict[str, Chart]:
    """Return the charts of a method's report by name of the figure that they replace.

    Args:
        metrics: metrics of the method.
        history: a row per evaluation step and seed.
        sample_weights: a row per training image and seed.
        weight_name: what the method calls the weight of an image.
        group_accuracy: a row per selection rule, seed, label and bias; empty without bias labels.
        data_card: data card of the data set.
    """
    charts = {
        "learning_curves": _learning_curves(metrics, history),
        "weight_histogram": _weight_histogram(sample_weights, weight_name),
        "group_heat_map": _group_heat_map(groups_of_bias(group_accuracy), data_card),
    }
    return {name: chart for name, chart in charts.items() if chart is not None}


def _learning_curves(metrics: Metrics, history: pd.DataFrame) -> Chart | None:
    if history.empty:
        return None
    steps = int(history["step"].max())
    rows, series = [], []
    for split, dash in _SPLITS.items():
        for key, name, colour in _CURVES:
            of_series = _curve_rows(history, f"{split}_{key}", f"{split}, {name}")
            if of_series:
                rows += of_series
                series.append(Series(f"{split}, {name}", colour, dash))
    selected = [
        (seed, rule.key, step, accuracy, rule.name)
        for rule in SELECTION_RULES.values()
        for seed, step, accuracy in selected_steps(metrics, rule)
    ]
    marks = {
        "data": {"name": "selected"},
        "transform": [OF_RULE, {"filter": f"seed == '{MEAN}' || datum.seed == seed"}],
        "mark": {"type": "point", "shape": "diamond", "size": 110, "filled": False},
        "encoding": {
            **_step_and_accuracy(steps),
            "stroke": {"value": "--overall"},
            "tooltip": [
                {"field": "name", "title": "selection rule"},
                {"field": "seed"},
                {"field": "step", "format": ","},
                {"field": "accuracy", "format": PERCENT},
            ],
        },
    }
    return Chart(
        _curves_spec(series, steps, "datum.seed == seed", [marks]),
        {
            "lines": Table(("seed", "series", "step", "accuracy", "low", "high"), rows),
            "selected": Table(("seed", "rule", "step", "accuracy", "name"), selected),
        },
        series,
        zooms=True,
    )


def _curve_rows(history: pd.DataFrame, column: str, name: str) -> list[tuple[Any, ...]]:
    """Return seed, name, step, accuracy, and lowest and highest seed: means, and every seed."""
    curve = over_seeds(history, column)
    several = history["seed"].nunique() > 1
    rows: list[tuple[Any, ...]] = [
        (MEAN, name, step, *((mean, low, high) if several else (mean, None, None)))
        for step, mean, low, high in curve.round(4).itertuples()
    ]
    if several:
        known = history[["seed", "step", column]].dropna().round({column: 4})
        rows += [
            (str(seed), name, step, accuracy, None, None)
            for seed, step, accuracy in known.itertuples(index=False)
        ]
    return rows


def _step_and_accuracy(steps: int) -> dict[str, Any]:
    return {
        "x": {
            "field": "step",
            "type": "quantitative",
            "axis": {"format": ",.0f", "tickCount": 5},
            "scale": {"domain": [0, steps], "nice": False},
        },
        "y": {"field": "accuracy", **ACCURACY},
    }


def _curves_spec(
    series: Sequence[Series],
    steps: int,
    shown: str,
    further_layers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    colour = by_series(series, [each.colour for each in series])
    dash = by_series(series, [list(each.dash) or [1, 0] for each in series])
    filters = [{"filter": shown}, NOT_HIDDEN]
    lines: dict[str, Any] = {"data": {"name": "lines"}, "transform": filters}
    tooltip = [
        {"field": "series", "title": "curve"},
        {"field": "step", "format": ","},
        {"field": "accuracy", "format": PERCENT},
        {"field": "low", "title": "lowest seed", "format": PERCENT},
        {"field": "high", "title": "highest seed", "format": PERCENT},
    ]
    places = _step_and_accuracy(steps)
    band = {**places, "y": {**places["y"], "field": "low"}, "y2": {"field": "high"}}
    layers = [
        {
            **lines,
            "transform": [*filters, {"filter": "isValid(datum.low)"}],
            "mark": {"type": "area", "opacity": 0.18, "tooltip": None, "clip": True},
            "encoding": {**band, "color": colour},
        },
        {
            **lines,
            "mark": {"type": "line", "strokeWidth": 2, "clip": True},
            "encoding": {**places, "color": colour, "strokeDash": dash},
        },
        *further_layers,
        {
            # Larger than they look, so that they are easy to point at.
            **lines,
            "mark": {"type": "point", "filled": True, "size": 130, "opacity": 0, "clip": True},
            "encoding": {**places, "color": colour, "tooltip": tooltip},
        },
    ]
    return {"height": 250, "layer": layers}


def _weight_histogram(sample_weights: pd.DataFrame, weight_name: str) -> Chart | None:
    by_image = weights_by_image(sample_weights)
    if by_image.empty:
        return None
    edges = np.linspace(0, max(1.0, float(by_image["weight"].max())), _BINS + 1)
    kinds = by_image["conflicting"].map({True: "bias-conflicting", False: "bias-aligned"})
    kinds = kinds.astype("object").fillna("not known")
    colours = {
        "bias-aligned": "--aligned",
        "bias-conflicting": "--conflicting",
        "not known": "--neutral",
    }
    series = [Series(name, colour) for name, colour in colours.items() if kinds.eq(name).any()]
    rows = []
    for each in series:
        counts, _ = np.histogram(by_image["weight"][kinds.eq(each.name)], bins=edges)
        rows += [
            (each.name, round(float(low), 4), round(float(high), 4), int(count))
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
            if count
        ]
    colour = by_series(series, [each.colour for each in series])
    spec = {
        "height": 240,
        "data": {"name": "bars"},
        "transform": [NOT_HIDDEN],
        "mark": {"type": "bar", "opacity": 0.55, "strokeWidth": 1.5, "binSpacing": 0},
        "encoding": {
            "x": {
                "field": "from",
                "type": "quantitative",
                "title": f"{weight_name or 'weight'} of a training image, mean over seeds",
                "scale": {"domain": [0, float(edges[-1])], "nice": False},
            },
            "x2": {"field": "to"},
            "y": {
                "field": "images",
                "type": "quantitative",
                "stack": None,
                "scale": {"type": "log", "domainMin": 0.7},
                "axis": {"title": "training images (logarithmic)", "format": ",", "tickCount": 4},
            },
            "y2": {"datum": 0.7},
            "color": colour,
            "stroke": colour,
            "tooltip": [
                {"field": "series", "title": "images that are"},
                {"field": "from", "format": ".3f"},
                {"field": "to", "format": ".3f"},
                {"field": "images", "format": ","},
            ],
        },
    }
    return Chart(spec, {"bars": Table(("series", "from", "to", "images"), rows)}, series)


def _group_heat_map(group_accuracy: pd.DataFrame, data_card: DataCard) -> Chart | None:
    """Return a heat map of the groups of the page, for the rule and the seed of its switches."""
    labels, biases = (group_accuracy[name].nunique() for name in ("label", "bias"))
    if not 0 < labels * biases <= MOST_GROUPS:
        return None
    places: dict[str, Any] = {
        name: {
            "field": attribute,
            "type": "nominal",
            "sort": data_card[f"{attribute}_names"],  # type: ignore[literal-required]
            "axis": {
                "title": f"{attribute}: {data_card[f'{attribute}_name']}",  # type: ignore[literal-required]
                "labelAngle": angle,
                "labelLimit": 110,
            },
        }
        for name, attribute, angle in (("x", "bias", -40), ("y", "label", 0))
    }
    cells = {
        "mark": {"type": "rect", "strokeWidth": 2.5, "strokeJoin": "miter"},
        "encoding": {
            **places,
            "color": {
                "field": "accuracy",
                "type": "quantitative",
                "scale": {
                    "domain": [0, 1],
                    "range": ["--heat-low", "--heat-high"],
                    "interpolate": "rgb",
                },
                "legend": {"format": "~%", "title": None, "gradientLength": 180},
            },
            "tooltip": [
                {"field": "label"},
                {"field": "bias"},
                {"field": "kind"},
                {"field": "accuracy", "format": PERCENT},
                {"field": "interval", "title": "95 % interval"},
                {"field": "images"},
            ],
        },
    }
    aligned = {
        "transform": [{"filter": "datum.kind == 'aligned'"}],
        "mark": {"type": "rect", "filled": False, "strokeWidth": 3, "tooltip": None},
        "encoding": {**places, "stroke": {"value": "--outline"}},
    }
    text = {
        "mark": {"type": "text", "fontSize": 11, "tooltip": None},
        "encoding": {
            **places,
            "text": {"field": "accuracy", "type": "quantitative", "format": ".0%"},
            "color": {
                "condition": {"test": "datum.accuracy > flip", "value": "--heat-text-high"},
                "value": "--heat-text-low",
            },
        },
    }
    layers = [cells, aligned, *([text] if labels <= 12 else [])]
    spec = {"height": 28 * labels, "data": {"name": "groups"}, "layer": layers}
    return Chart(spec)


# --- Charts of a comparison -----------------------------------------------------------------------


def comparison_charts(
    metrics: Sequence[Metrics], histories: Mapping[str, pd.DataFrame]
) -> dict[str, Chart]:
    """Return the charts of a comparison by name of the figure that they replace.

    Args:
        metrics: metrics of each method, in the order of the legend.
        histories: training history by method.
    """
    series = [
        Series(each["method"], f"--method-{place % METHODS}", _DASHES[LINES[place % len(LINES)]])
        for place, each in enumerate(metrics)
    ]
    charts = {"compared_metrics": _compared_metrics(metrics, series)}
    if curves := _compared_curves(histories, series):
        charts["compared_learning_curves"] = curves
    return charts


def _compared_curves(
    histories: Mapping[str, pd.DataFrame], series: Sequence[Series]
) -> Chart | None:
    rows, choices = [], []
    names = {
        "conflicting_accuracy": "bias-conflicting test images",
        "aligned_accuracy": "bias-aligned test images",
        "accuracy": "all test images",
    }
    for key, name in names.items():
        of_metric = [
            (key, each.name, step, mean, *(band if low < high else (None, None)))
            for each in series
            for step, mean, low, high in over_seeds(histories[each.name], f"test_{key}")
            .round(4)
            .itertuples()
            for band in [(low, high)]
        ]
        if of_metric:
            rows += of_metric
            choices.append((key, name))
    if not rows:
        return None
    columns = ("metric", "series", "step", "accuracy", "low", "high")
    return Chart(
        _curves_spec(series, max(int(step) for _, _, step, *_ in rows), "datum.metric == choice"),
        {"lines": Table(columns, rows)},
        series,
        choices,
        zooms=True,
    )


def _compared_metrics(metrics: Sequence[Metrics], series: Sequence[Series]) -> Chart:
    unbiased = metrics[0].get("unbiased_test")
    names = {
        key: metric_text(key, unbiased).name
        for key in COMPARED
        if any(last_step(each)[key]["mean"] is not None for each in metrics)
    }
    means, seeds = _compared_rows(metrics, names)
    places: dict[str, Any] = {
        "x": {
            "field": "metric",
            "type": "nominal",
            "sort": None,
            "axis": {
                "title": None,
                "labelAngle": 0,
                "labelExpr": "split(datum.label, ' ')",
                "ticks": False,
            },
        },
        "xOffset": {"field": "series", "scale": {"domain": [each.name for each in series]}},
    }
    colour = by_series(series, [each.colour for each in series])
    shown: dict[str, Any] = {"transform": [OF_RULE, NOT_HIDDEN]}
    height: dict[str, Any] = {"field": "accuracy", **ACCURACY}
    layers = [
        {
            **shown,
            "data": {"name": "means"},
            "mark": {"type": "bar", "width": {"band": 0.55}, "opacity": 0.85},
            "encoding": {
                **places,
                "y": height,
                "color": colour,
                "tooltip": [
                    {"field": "series", "title": "method"},
                    {"field": "metric"},
                    {"field": "accuracy", "format": PERCENT},
                    {"field": "spread", "title": "standard deviation"},
                ],
            },
        },
        {
            **shown,
            "data": {"name": "seeds"},
            "mark": {"type": "point", "filled": True, "size": 22, "tooltip": None, "opacity": 1},
            "encoding": {**places, "y": height, "color": {"value": "--text"}},
        },
        {
            **shown,
            "data": {"name": "means"},
            "mark": {"type": "text", "dy": -9, "fontSize": 11, "tooltip": None},
            "encoding": {
                **places,
                "y": {**height, "field": "top"},
                "text": {"field": "accuracy", "type": "quantitative", "format": ".0%"},
                "color": {"value": "--text"},
            },
        },
    ]
    return Chart(
        {"height": 190, "layer": layers},
        {
            "means": Table(("rule", "metric", "series", "accuracy", "top", "spread"), means),
            "seeds": Table(("rule", "metric", "series", "accuracy"), seeds),
        },
        [Series(each.name, each.colour) for each in series],
    )


def _compared_rows(
    metrics: Sequence[Metrics], names: Mapping[Metric, str]
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the rows of the two tables behind the chart of metrics.

    Args:
        metrics: metrics of each method.
        names: key and name of the metrics that the chart shows.

    Returns:
        A row per method, rule and metric: rule, name, method, mean, highest seed, spread; and a
        row per seed: rule, name, method, value.
    """
    means: list[tuple[Any, ...]] = []
    seeds: list[tuple[Any, ...]] = []
    for each, rule in itertools.product(metrics, SELECTION_RULES):
        selected = each["checkpoints"].get(rule)
        if selected is None:
            continue
        for key, name in names.items():
            values = selected[key]
            if values["mean"] is None:
                continue
            per_seed = known(values["per_seed"])
            spread = f"{100 * values['std']:.1f} points" if values["std"] is not None else None
            place = (rule, name, each["method"])
            means.append((*place, values["mean"], max(per_seed), spread))
            seeds += [(*place, value) for value in per_seed]
    return means, seeds
