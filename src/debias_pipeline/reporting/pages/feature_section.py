"""The section of a report about features: maps of both branches, and what swapped features show."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from debias_pipeline.records import DataCard
from debias_pipeline.reporting.figures.charts import Chart, Table
from debias_pipeline.reporting.figures.gallery import Pixels, image_address
from debias_pipeline.reporting.figures.plots import bare_axes, drawing_style, new_figure, to_svg
from debias_pipeline.reporting.pages.page import FigureBlock, FigureText, figure_blocks
from debias_pipeline.reporting.pages.suspect_section import Picture
from debias_pipeline.reporting.text import Attribute, attribute_name, counted, percentage

# Number of variables --value-0, … of colours; maps of attributes with more values are left out.
_COLOURS: Final = 10
# The index of the colour and the shape of images whose value is unknown.
_UNKNOWN: Final = _COLOURS
_UNKNOWN_NAME: Final = "not known"
_COLOUR_VARIABLES: Final = (*(f"--value-{index}" for index in range(_COLOURS)), "--neutral")
# The same colours in the light scheme.
_DRAWN_COLOURS: Final = (
    *("#1f6fb4", "#c24f00", "#2a7d2a", "#c9222b", "#7b52ab"),
    *("#8c564b", "#b0427a", "#5f5f5f", "#7a7a00", "#00798a"),
    "#6b6b6b",
)
_SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross")
_MARKERS: Final = ("o", "s", "^", "D", "P")
_BRANCHES: Final = ("debiased branch, z_i", "bias branch, z_b")
# Where the map of z_b begins, in widths of a map.
_SECOND_MAP: Final = 1.15
_MOST_SWAPS: Final = 4
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


class _Colouring(NamedTuple):
    """Colours and shapes of the marks by one attribute.

    Attributes:
        key: the attribute.
        title: what the choice of the attribute is called.
        indexes: index of the colour and the shape of each mark.
        names: name of the value of each index that is used.
    """

    key: Attribute
    title: str
    indexes: list[int]
    names: dict[int, str]


def feature_section(
    feature_map: Mapping[str, Any], images: Pixels, manifest: pd.DataFrame, data_card: DataCard
) -> FeatureSection | None:
    """Return what a page shows about the features of both branches; None if there is nothing.

    Args:
        feature_map: see `evaluation.map_features`.
        images: uint8, N × H × W × 3; only rows that are shown are read.
        manifest: row i describes images[i].
        data_card: facts about the data set.
    """
    tensors = {name: tensor.numpy() for name, tensor in feature_map["tensors"].items()}
    facts = _image_facts(manifest, data_card)
    mapped = facts.loc[tensors["mapped"]].reset_index(drop=True)
    places = tensors["places"].astype(float).round(3)
    colourings = _colourings(mapped, data_card)
    figure = None
    if colourings:
        figures = {"feature_map": _draw_maps(places, colourings)}
        charts = {"feature_map": _map_chart(mapped, places, colourings)}
        (figure,) = figure_blocks({"feature_map": _TEXT}, figures, charts)
    swaps = _swapped_pairs(tensors, facts, images)
    if figure is None and not swaps:
        return None
    return FeatureSection(
        figure=figure,
        nearest=_nearest_in_words(tensors, facts),
        swaps=swaps,
        searched=f"{feature_map['metadata']['searched']:,}",
        seed=feature_map["metadata"]["seed"],
    )


def _image_facts(manifest: pd.DataFrame, data_card: DataCard) -> pd.DataFrame:
    """Return codes and names of label and bias of each image; a name may occur several times."""
    facts = manifest[["label", "bias"]].reset_index(drop=True)
    known = facts["bias"] >= 0
    return facts.assign(
        bias_known=known,
        label_name=[attribute_name(data_card, "label", code) for code in facts["label"]],
        bias_name=[
            attribute_name(data_card, "bias", code) if code >= 0 else _UNKNOWN_NAME
            for code in facts["bias"]
        ],
        file=manifest["source"].to_numpy(),
    )


# --- Maps -----------------------------------------------------------------------------------------


def _colourings(mapped: pd.DataFrame, data_card: DataCard) -> list[_Colouring]:
    """Return how to colour the maps by each attribute that has few enough values."""
    attributes: tuple[tuple[Attribute, str], ...] = (
        ("label", data_card["label_name"]),
        ("bias", data_card["bias_name"]),
    )
    found = []
    for key, name in attributes:
        codes = sorted(code for code in set(mapped[key]) if code >= 0)
        if not 1 < len(codes) <= _COLOURS:
            continue
        index_of = {code: index for index, code in enumerate(codes)}
        indexes = [index_of.get(code, _UNKNOWN) for code in mapped[key]]
        names = {index: attribute_name(data_card, key, code) for code, index in index_of.items()}
        if _UNKNOWN in indexes:
            names[_UNKNOWN] = _UNKNOWN_NAME
        found.append(_Colouring(key, f"{key}: {name}", indexes, names))
    return found


def _map_chart(mapped: pd.DataFrame, places: Any, colourings: Sequence[_Colouring]) -> Chart:
    """Return both maps as one Vega-Lite view: only a single view can fill the width of the page."""
    indexes = json.dumps({each.key: list(each.names) for each in colourings})
    names = json.dumps({each.key: each.names for each in colourings})
    shown = {
        "field": "shown",
        "type": "nominal",
        "legend": {
            "orient": "bottom",
            "title": None,
            # At most two rows, as the page does not make room for more when the choice changes.
            "columns": 6 if any(_UNKNOWN in each.names for each in colourings) else 5,
            "labelLimit": 90,
            "symbolLimit": len(_COLOUR_VARIABLES),
            "symbolOpacity": 1,
            "values": {"expr": f"({indexes})[choice]"},
            "labelExpr": f"({names})[choice][datum.value]",
        },
    }
    domain = list(range(len(_COLOUR_VARIABLES)))
    shapes = [_SHAPES[index % len(_SHAPES)] for index in domain]
    layers: list[dict[str, Any]] = [
        {
            "data": {"name": "points"},
            "transform": [{"calculate": "datum[choice + '_index']", "as": "shown"}],
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 0.85},
            "encoding": {
                "x": {"field": f"x{branch}", **_axis(1 + _SECOND_MAP)},
                "y": {"field": f"y{branch}", **_axis(1.12)},
                "color": {**shown, "scale": {"domain": domain, "range": _COLOUR_VARIABLES}},
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
                "x": {"datum": 0.5 + branch * _SECOND_MAP, **_axis(1 + _SECOND_MAP)},
                "y": {"datum": 1.09, **_axis(1.12)},
                "color": {"value": "--text"},
            },
        }
        for branch, name in enumerate(_BRANCHES)
    ]
    columns: dict[str, Sequence[Any]] = {
        **{name: mapped[f"{name}_name"].tolist() for name in ("label", "bias")},
        "file": mapped["file"].tolist(),
        **{f"{each.key}_index": each.indexes for each in colourings},
        **{
            f"{axis}{branch}": (places[:, branch, place] + offset).round(3).tolist()
            for branch in range(2)
            for place, (axis, offset) in enumerate((("x", branch * _SECOND_MAP), ("y", 0)))
        },
    }
    return Chart(
        {"height": 330, "layer": layers},
        {"points": Table([*columns], [*zip(*columns.values(), strict=True)])},
        choices=[(each.key, each.title) for each in colourings],
    )


def _axis(end: float) -> dict[str, Any]:
    return {
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [-0.03, end + 0.03], "nice": False, "zero": False},
    }


def _draw_maps(places: Any, colourings: Sequence[_Colouring]) -> str:
    """Return the maps as SVG: a row per attribute, a column per branch."""
    with drawing_style():
        figure = new_figure(3.4 * len(colourings))
        parts = figure.subfigures(len(colourings), 1, squeeze=False)[:, 0]
        for part, colouring in zip(parts, colourings, strict=True):
            axes = part.subplots(1, 2)
            indexes = np.array(colouring.indexes)
            for index, name in colouring.names.items():
                for branch in range(2):
                    x, y = places[indexes == index, branch].T
                    axes[branch].scatter(
                        x,
                        y,
                        s=9,
                        color=_DRAWN_COLOURS[index],
                        marker=_MARKERS[index % len(_MARKERS)],
                        linewidth=0,
                        label=name if not branch else None,
                    )
            for branch, title in enumerate(_BRANCHES):
                bare_axes(axes[branch])
                axes[branch].set_title(f"{title}; {colouring.title}")
            part.legend(loc="outside lower center", ncols=5)
        return to_svg(figure, "feature_map")


# --- Swapped features -----------------------------------------------------------------------------


def _nearest_in_words(tensors: Mapping[str, Any], facts: pd.DataFrame) -> str:
    a, b, first = tensors["mapped"], tensors["partners"], tensors["nearest"][:, 0]
    label, bias, bias_known = (facts[key].to_numpy() for key in ("label", "bias", "bias_known"))
    known = bias_known[a] & bias_known[b] & bias_known[first]
    differ = label[a] != label[b]
    if known.any():
        differ &= known & (bias[a] != bias[b])
    if not differ.any():
        return ""
    of_a = percentage(float((label[first] == label[a])[differ].mean()))
    what = "label and bias attribute" if known.any() else "label"
    text = (
        f"For {counted(int(differ.sum()), 'pair')} of test images A and B that differ in {what}, "
        f"the training image nearest to z_i of A and z_b of B has the label of A in {of_a}"
    )
    if known.any():
        of_b = percentage(float((bias[first] == bias[b])[differ].mean()))
        text += f" and the bias attribute of B in {of_b}"
    return f"{text} of cases."


def _swapped_pairs(
    tensors: Mapping[str, Any], facts: pd.DataFrame, images: Pixels
) -> list[tuple[str, list[Picture]]]:
    """Return a pair for each of the first labels of A whose labels and bias attributes differ.

    Bias attributes that are not known count as different.
    """
    pairs: dict[int, tuple[str, list[Picture]]] = {}
    rows = zip(tensors["mapped"], tensors["partners"], tensors["nearest"], strict=True)
    for a, b, nearest in rows:
        one, other = facts.loc[a], facts.loc[b]
        same_bias = one["bias_known"] and one["bias"] == other["bias"]
        if one["label"] in pairs or one["label"] == other["label"] or same_bias:
            continue
        pictures = [
            Picture(
                image_address(np.asarray(images[row])),
                facts["file"][row],
                f"{kind}: {_describe_image(facts.loc[row])}",
            )
            for kind, row in (
                ("A", a),
                ("B", b),
                *((f"nearest {place}", row) for place, row in enumerate(nearest, 1)),
            )
        ]
        title = f"z_i of “{_describe_image(one)}”, z_b of “{_describe_image(other)}”"
        pairs[one["label"]] = (title, pictures)
        if len(pairs) == _MOST_SWAPS:
            break
    return [*pairs.values()]


def _describe_image(facts: pd.Series) -> str:
    return f"{facts['label_name']}" + (f", {facts['bias_name']}" if facts["bias_known"] else "")
