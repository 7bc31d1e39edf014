"""Grids of images: training images by label, those of the highest weight, contact sheets."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from debias_pipeline.records import DataCard
from debias_pipeline.reporting.figures.plots import (
    ALIGNED,
    CONFLICTING,
    WIDTH,
    bare_axes,
    by_kind,
    drawing_style,
    new_figure,
    to_svg,
    weights_by_image,
)
from debias_pipeline.reporting.text import drawable_name, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CONFLICTING: Final = 40
_ACROSS: Final = 10
_SAMPLE_ROWS: Final = 3
# Pixels: larger images are shrunk so that reports stay small, smaller ones are enlarged.
_LARGEST_TILE: Final = 64
_SMALLEST_TILE: Final = 84


@dataclass(frozen=True)
class _Tile:
    """An image in a grid: its row in `images`, its position in tile widths, the text below it."""

    row: int
    x: float
    y: float
    caption: str
    conflicting: bool | None


def draw_sample_grid(
    images: npt.NDArray[np.uint8], manifest: pd.DataFrame, data_card: DataCard
) -> "Figure | None":
    """Draw random training images of the first labels, at most 10.

    Bias-aligned images are at the top, then bias-conflicting ones, then those that are not known to
    be either.

    Args:
        images: uint8, [N, H, W, 3]; only the rows that are shown are read.
        manifest: row i describes images[i].
        data_card: data card of the data set.

    Returns:
        The figure, or None if there are no training images.
    """
    rows = manifest.reset_index(drop=True)
    rows = rows[rows["split"] == "train"]
    if rows.empty:
        return None
    labels = sorted(rows["label"].unique())[:_ACROSS]
    each = max(1, _ACROSS // len(labels))
    bands = [
        (title, colour, rows[of_kind])
        for title, colour, of_kind in by_kind(rows["conflicting"])
        if of_kind.any()
    ]
    height, pitch = _tile_height(images), _tile_height(images) + 0.28
    tiles: list[_Tile] = []
    titles: list[tuple[float, str, str]] = []
    top = 0.35
    for title, colour, of_band in bands:
        titles.append((top + 0.22, title, colour))
        top += 0.35
        for position, label in enumerate(labels):
            of_label = of_band[of_band["label"] == label]
            chosen = _random_rows(of_label, each * _SAMPLE_ROWS)
            tiles += [
                _Tile(
                    row=int(row),
                    x=position * (each + 0.15) + place % each,
                    y=top + (place // each) * pitch,
                    caption=drawable_name(data_card, "bias", of_label.at[row, "bias"], 9),
                    conflicting=None,
                )
                for place, row in enumerate(chosen)
            ]
        top += _SAMPLE_ROWS * pitch
    across = len(labels) * (each + 0.15)
    axes = _grid_axes(across, top)
    for position, label in enumerate(labels):
        name = drawable_name(data_card, "label", label, max(9, 9 * each))
        centre = position * (each + 0.15) + each / 2 - 0.04
        axes.text(centre, 0.2, name, ha="center", fontsize=9, fontweight="bold")
    for y, title, colour in titles:
        axes.text(0, y, title, color=colour, fontsize=8.5, fontweight="bold")
    _draw_tiles(axes, tiles, images, height)
    return axes.get_figure(root=True)


def draw_most_conflicting(
    sample_weights: pd.DataFrame,
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    weight_name: str,
) -> "Figure | None":
    """Draw the training images with the highest mean weight over seeds, the highest first.

    Args:
        sample_weights: a row per training image and seed.
        images: uint8, [N, H, W, 3]; only the rows that are shown are read.
        manifest: row i describes images[i].
        data_card: data card of the data set.
        weight_name: what the method calls its weights.

    Returns:
        The figure, or None if there are no weights.
    """
    weights = highest_weights(sample_weights)
    if weights.empty:
        return None
    rows = manifest.reset_index(drop=True).reset_index(names="row").set_index("image_id")
    shown = rows.loc[weights.index]
    flags = [None if pd.isna(flag) else bool(flag) for flag in shown["conflicting"]]
    height = _tile_height(images)
    pitch = height + 0.78
    tiles = [
        _Tile(
            row=int(record["row"]),
            x=place % _ACROSS * 1.1,
            y=0.55 + place // _ACROSS * pitch,
            caption=_names_and_weight(record, weight, data_card),
            conflicting=flag,
        )
        for place, (record, weight, flag) in enumerate(
            zip(shown.to_dict("records"), weights, flags, strict=True)
        )
    ]
    axes = _grid_axes(_ACROSS * 1.1, 0.6 + -(-len(tiles) // _ACROSS) * pitch)
    _write_ranking_title(axes, flags, data_card, weight_name)
    _draw_tiles(axes, tiles, images, height)
    return axes.get_figure(root=True)


def _names_and_weight(record: Mapping[Hashable, Any], weight: float, data_card: DataCard) -> str:
    label = drawable_name(data_card, "label", record["label"], 11)
    bias = drawable_name(data_card, "bias", record["bias"], 11)
    return "\n".join(filter(None, [label, bias, f"{weight:.4g}"]))


def highest_weights(sample_weights: pd.DataFrame) -> pd.Series:
    """Return the highest mean weights over seeds by image_id, at most `MOST_CONFLICTING`."""
    weights = weights_by_image(sample_weights)["weight"]
    return weights.sort_values(ascending=False, kind="stable").head(MOST_CONFLICTING)


def _write_ranking_title(
    axes: "Axes", flags: Sequence[bool | None], data_card: DataCard, weight_name: str
) -> None:
    names = f"{data_card['label_name']}, {data_card['bias_name']}"
    named = "" if names == "label, bias" else f" ({names})"
    text = shortened(f"Below each image: label and bias{named}, then {weight_name}.", 85)
    axes.text(0, 0.02, text, fontsize=8, color="#444444")
    if None in flags:
        return
    hits = sum(flag is True for flag in flags)
    axes.text(
        0,
        0.36,
        f"{hits} of {len(flags)} are bias-conflicting (thick orange outline)",
        fontsize=8,
        color=CONFLICTING,
        fontweight="bold",
    )
    if hits < len(flags):
        text = f"{len(flags) - hits} bias-aligned (dashed blue)"
        axes.text(_ACROSS * 1.1 - 0.1, 0.36, text, fontsize=8, color=ALIGNED, ha="right")


def _grid_axes(across: float, down: float) -> "Axes":
    """Return axes whose unit is the width of a tile; y grows downward."""
    figure = new_figure(WIDTH * down / across)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_xlim(-0.05, across)
    axes.set_ylim(down, -0.15)
    bare_axes(axes)
    return axes


def _tile_height(images: npt.NDArray[np.uint8]) -> float:
    """Return the height of an image in tile widths; 0.08 is a gap."""
    return 0.92 * float(images.shape[1]) / float(images.shape[2])


def _draw_tiles(
    axes: "Axes", tiles: Sequence[_Tile], images: npt.NDArray[np.uint8], height: float
) -> None:
    for tile in tiles:
        pixels = _resized(np.asarray(images[tile.row]))
        extent = (tile.x, tile.x + 0.92, tile.y + height, tile.y)
        axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto")
        _outline(axes, tile, height)
        axes.text(
            tile.x + 0.46,
            tile.y + height + 0.06,
            tile.caption,
            ha="center",
            va="top",
            fontsize=6.5,
            linespacing=1.15,
        )
    # imshow has changed the limits to those of the last image.
    axes.autoscale(False)


def _outline(axes: "Axes", tile: _Tile, height: float) -> None:
    from matplotlib.patches import Rectangle

    if tile.conflicting is None:
        return
    colour, line, width = (CONFLICTING, "-", 2.4) if tile.conflicting else (ALIGNED, "--", 1.2)
    box = Rectangle(
        (tile.x, tile.y),
        0.92,
        height,
        fill=False,
        edgecolor=colour,
        linestyle=line,
        linewidth=width,
    )
    axes.add_patch(box)


def _resized(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Enlarge small images pixel by pixel, shrink large ones by averaging."""
    longest = max(pixels.shape[:2])
    if longest > _LARGEST_TILE:
        shrunk = Image.fromarray(pixels)
        shrunk.thumbnail((_LARGEST_TILE, _LARGEST_TILE), Image.Resampling.BOX)
        return np.asarray(shrunk)
    factor = max(1, _SMALLEST_TILE // longest)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _random_rows(rows: pd.DataFrame, most: int) -> list[Any]:
    """Return the index of at most `most` random rows, the same ones every time."""
    count = min(most, len(rows))
    return sorted(np.random.default_rng(0).choice(rows.index.to_numpy(), count, replace=False))


def draw_contact_sheet(
    pixels: npt.NDArray[np.uint8], rows: Sequence[str], columns: Sequence[str]
) -> str:
    """Draw an image that consists of a grid of small images, with names of rows and columns.

    Args:
        pixels: uint8, [H, W, 3]: the whole grid; all its rows have the same height, all its
            columns the same width.
        rows: a name for each row.
        columns: a name for each column.

    Returns:
        SVG text.
    """
    height, width = pixels.shape[:2]
    with drawing_style():
        figure = new_figure(WIDTH * height / width)
        axes = figure.add_subplot()
        axes.imshow(pixels, interpolation="nearest")
        bare_axes(axes)
        row_height, column_width = height / len(rows), width / len(columns)
        for place, name in enumerate(rows):
            middle = (place + 0.5) * row_height
            axes.text(-4, middle, name, ha="right", va="center", fontsize=8)
        for place, name in enumerate(columns):
            middle = (place + 0.5) * column_width
            axes.text(middle, -4, name, ha="left", va="bottom", fontsize=7, rotation=40)
        return to_svg(figure, "contact_sheet")
