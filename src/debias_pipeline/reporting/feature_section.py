"""The section of a report about features: maps of both branches, and what swapped features show."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from debias_pipeline.records import DataCard
from debias_pipeline.reporting.charts import Chart, Table
from debias_pipeline.reporting.gallery import Pixels, image_address
from debias_pipeline.reporting.pages import FigureBlock, FigureText, figure_blocks
from debias_pipeline.reporting.plots import bare_axes, drawing_style, new_figure, to_svg
from debias_pipeline.reporting.suspect_section import Picture
from debias_pipeline.reporting.text import Attribute, attribute_name, percentage

# Number of variables --value-0, … of colours; maps of attributes with more values are left out.
_COLOURS: Final = 10
# The colours of the light scheme.
_DRAWN_COLOURS: Final = (
    *("#1f6fb4", "#c24f00", "#2a7d2a", "#c9222b", "#7b52ab"),
    *("#8c564b", "#b0427a", "#5f5f5f", "#7a7a00", "#00798a"),
)
_SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross")
_MARKERS: Final = ("o", "s", "^", "D", "P")
_BRANCHES: Final = ("debiased branch, z_i", "bias branch, z_b")
# Where the map of z_b begins, in widths of a map.
_SECOND: Final = 1.15
_MOST_SWAPS: Final = 4
_NOT_KNOWN: Final = "not known"
_TEXT: Final = FigureText(
    "Maps of both branches",
    "Each mark is a test image; images with similar features are near each other (t-SNE, so "
    "distances between far groups, axes and sizes mean nothing). If z_i held only the label and "
    "z_b only the bias attribute, the map of z_i would have a group per label in which all values "
    "of the bias attribute are mixed, and the map of z_b the opposite.",
    "Two scatter plots of test images, by the features of the debiased and of the bias branch",
)


@dataclass(frozen=True)
class FeatureSection:
    """What the template shows about features.

    Attributes:
        figure: the maps; None if neither attribute has few enough values for colours.
        nearest: how often the nearest training image has the label of A and the bias of B.
        swaps: for each shown pair, its name, and A, B and the nearest training images.
        searched: number of training images of which the nearest ones are shown.
        seed: whose networks are shown.
    """

    figure: FigureBlock | None
    nearest: str
    swaps: Sequence[tuple[str, Sequence[Picture]]]
    searched: str
    seed: int


def feature_section(
    feature_map: Mapping[str, Any], images: Pixels, manifest: pd.DataFrame, data_card: DataCard
) -> FeatureSection | None:
    """Return what a page shows about the features of both branches; None if they are not known.

    Args:
        feature_map: see `evaluation.map_features`.
        images: uint8, N × H × W × 3; only rows that are shown are read.
        manifest: row i describes images[i].
        data_card: facts about the data set.
    """
    tensors = {name: tensor.numpy() for name, tensor in feature_map["tensors"].items()}
    if not len(tensors["mapped"]):
        return None
    table = manifest.reset_index(drop=True)
    names = pd.DataFrame(
        {
            "label": [attribute_name(data_card, "label", value) for value in table["label"]],
            "bias": [
                attribute_name(data_card, "bias", value) if value >= 0 else _NOT_KNOWN
                for value in table["bias"]
            ],
            "file": table["source"],
        }
    )
    points = names.loc[tensors["mapped"]].reset_index(drop=True)
    places = tensors["places"].astype(float).round(3)
    choices = _choices(points, data_card)
    figures = {"feature_map": _draw(points, places, choices)} if choices else {}
    charts = {"feature_map": _chart(points, places, choices)} if choices else {}
    return FeatureSection(
        figure=next(iter(figure_blocks({"feature_map": _TEXT}, figures, charts)), None),
        nearest=_nearest_in_words(tensors, names),
        swaps=_swaps(tensors, names, images),
        searched=f"{feature_map['metadata']['searched']:,}",
        seed=feature_map["metadata"]["seed"],
    )


def _choices(points: pd.DataFrame, data_card: DataCard) -> list[tuple[Attribute, str, list[str]]]:
    """Return key, name and values of the attributes that colours can show."""
    attributes: tuple[tuple[Attribute, str, list[str]], ...] = (
        ("label", data_card["label_name"], data_card["label_names"]),
        ("bias", data_card["bias_name"], data_card["bias_names"]),
    )
    found = []
    for key, name, order in attributes:
        present = set(points[key])
        values = [each for each in order if each in present]
        values += sorted(present - set(values) - {_NOT_KNOWN})
        if 1 < len(values) <= _COLOURS:
            found.append((key, f"{key}: {name}", values))
    return found


# --- Maps -----------------------------------------------------------------------------------------


def _chart(
    points: pd.DataFrame, places: Any, choices: Sequence[tuple[Attribute, str, list[str]]]
) -> Chart:
    """Return both maps in one view, since a chart as wide as the page cannot have two."""
    domain = [*dict.fromkeys(value for *_, values in choices for value in values), _NOT_KNOWN]
    shown = {
        "field": "shown",
        "type": "nominal",
        "legend": {
            "orient": "bottom",
            "title": None,
            "columns": 5,
            "labelLimit": 90,
            "symbolLimit": _COLOURS,
            "symbolOpacity": 1,
            "values": {
                "expr": f"({json.dumps({key: names for key, _, names in choices})})[choice]"
            },
        },
    }
    colours = [f"--value-{place % _COLOURS}" for place in range(len(domain) - 1)] + ["--neutral"]
    shapes = [_SHAPES[place % len(_SHAPES)] for place in range(len(domain))]
    layers: list[dict[str, Any]] = [
        {
            "data": {"name": "points"},
            "transform": [{"calculate": "datum[choice]", "as": "shown"}],
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 0.85},
            "encoding": {
                "x": {"field": f"x{branch}", **_axis(1 + _SECOND)},
                "y": {"field": f"y{branch}", **_axis(1.12)},
                "color": {**shown, "scale": {"domain": domain, "range": colours}},
                "shape": {**shown, "scale": {"domain": domain, "range": shapes}},
                "tooltip": [{"field": name} for name in ("label", "bias", "file")],
            },
        }
        for branch in range(2)
    ]
    layers += [
        {
            "data": {"values": [{}]},
            "mark": {"type": "text", "text": name, "fontSize": 12, "tooltip": None},
            "encoding": {
                "x": {"datum": 0.5 + branch * _SECOND, **_axis(1 + _SECOND)},
                "y": {"datum": 1.09, **_axis(1.12)},
                "color": {"value": "--text"},
            },
        }
        for branch, name in enumerate(_BRANCHES)
    ]
    rows = [
        (*texts, *np.round([x, y, x_b + _SECOND, y_b], 3).tolist())
        for texts, ((x, y), (x_b, y_b)) in zip(
            points.itertuples(index=False), places.tolist(), strict=True
        )
    ]
    return Chart(
        {"height": 330, "layer": layers},
        {"points": Table(("label", "bias", "file", "x0", "y0", "x1", "y1"), rows)},
        choices=[(key, name) for key, name, _ in choices],
    )


def _axis(end: float) -> dict[str, Any]:
    return {
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [-0.03, end + 0.03], "nice": False, "zero": False},
    }


def _draw(
    points: pd.DataFrame, places: Any, choices: Sequence[tuple[Attribute, str, list[str]]]
) -> str:
    """Return the maps as SVG: a row per attribute, a column per branch."""
    with drawing_style():
        figure = new_figure(3.4 * len(choices))
        parts = figure.subfigures(len(choices), 1, squeeze=False)[:, 0]
        for part, (key, name, values) in zip(parts, choices, strict=True):
            axes = part.subplots(1, 2)
            for place, value in enumerate(values):
                of_value = (points[key] == value).to_numpy()
                for branch in range(2):
                    x, y = places[of_value, branch].T
                    axes[branch].scatter(
                        x,
                        y,
                        s=9,
                        color=_DRAWN_COLOURS[place],
                        marker=_MARKERS[place % len(_MARKERS)],
                        linewidth=0,
                        label=value if not branch else None,
                    )
            for branch, title in enumerate(_BRANCHES):
                bare_axes(axes[branch])
                axes[branch].set_title(f"{title}; {name}")
            part.legend(loc="outside lower center", ncols=5)
        return to_svg(figure, "feature_map")


# --- Swapped features -----------------------------------------------------------------------------


def _nearest_in_words(tensors: Mapping[str, Any], names: pd.DataFrame) -> str:
    a, b, first = tensors["mapped"], tensors["partners"], tensors["nearest"][:, 0]
    label, bias = (names[key].to_numpy() for key in ("label", "bias"))
    known = (bias[b] != _NOT_KNOWN) & (bias[a] != _NOT_KNOWN) & (bias[first] != _NOT_KNOWN)
    differ = label[a] != label[b]
    if known.any():
        differ &= known & (bias[a] != bias[b])
    if not differ.any():
        return ""
    of_a = percentage(float((label[first] == label[a])[differ].mean()))
    what = "label and bias attribute" if known.any() else "label"
    text = (
        f"For {differ.sum():,} pairs of test images A and B that differ in {what}, the training "
        f"image nearest to z_i of A and z_b of B has the label of A in {of_a}"
    )
    if known.any():
        of_b = percentage(float((bias[first] == bias[b])[differ].mean()))
        text += f" and the bias attribute of B in {of_b}"
    return f"{text} of cases."


def _swaps(
    tensors: Mapping[str, Any], names: pd.DataFrame, images: Pixels
) -> list[tuple[str, list[Picture]]]:
    """Return a pair for each of the first labels of A whose labels and bias attributes differ."""
    swaps: dict[str, tuple[str, list[Picture]]] = {}
    rows = zip(tensors["mapped"], tensors["partners"], tensors["nearest"], strict=True)
    for a, b, nearest in rows:
        one, other = names.loc[a], names.loc[b]
        same_bias = one["bias"] == other["bias"] != _NOT_KNOWN
        if one["label"] in swaps or one["label"] == other["label"] or same_bias:
            continue
        pictures = [
            Picture(
                image_address(np.asarray(images[row])),
                names["file"][row],
                f"{kind}: {_words(names.loc[row])}",
            )
            for kind, row in (
                ("A", a),
                ("B", b),
                *((f"nearest {place}", row) for place, row in enumerate(nearest, 1)),
            )
        ]
        swaps[one["label"]] = (f"z_i of “{_words(one)}”, z_b of “{_words(other)}”", pictures)
        if len(swaps) == _MOST_SWAPS:
            break
    return [*swaps.values()]


def _words(names: pd.Series) -> str:
    return f"{names['label']}" + ("" if names["bias"] == _NOT_KNOWN else f", {names['bias']}")
