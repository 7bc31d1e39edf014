"""Heat maps of accuracy by group: rows by label, columns by bias."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from debias_pipeline.reporting.formatting import DASH
from debias_pipeline.reporting.names import attribute_name, shortened
from debias_pipeline.reporting.style import ALIGNED

_LARGEST_WRITTEN = 12  # classes: beyond, a number no longer fits into its cell
_GREYS = LinearSegmentedColormap.from_list(
    "accuracy", ["#ffffff", "#9a9a9a", "#2b2b2b"]
).with_extremes(bad="#fbe9c6")


def accuracy_grid(group_accuracy: pd.DataFrame) -> pd.DataFrame | None:
    """Accuracy of the last checkpoint, mean over seeds: rows by label, columns by bias.

    Args:
        group_accuracy: a row per checkpoint, seed, label and bias; empty without bias labels.

    Returns:
        Fractions, NaN for a group without test images; None if there are no groups.
    """
    if group_accuracy.empty:
        return None
    last = group_accuracy[group_accuracy["checkpoint"] == "last"]
    if last.empty:
        return None
    last = last.astype({"accuracy": "float64"})
    return last.pivot_table(
        index="label", columns="bias", values="accuracy", aggfunc="mean", dropna=False
    )


def draw_heat_map(
    axes: Axes,
    grid: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: Mapping[str, Any],
    font_size: float,
    room: int,
) -> None:
    """Draw accuracies, with a blue outline around the bias-aligned groups.

    Args:
        axes: where to draw.
        grid: from `accuracy_grid`.
        manifest: tells which groups are bias-aligned.
        data_card: holds the names of labels and bias values.
        font_size: of names and figures, in points.
        room: how many characters fit along the lower edge.
    """
    values = grid.to_numpy(dtype="float64")
    axes.imshow(values, cmap=_GREYS, vmin=0, vmax=1, aspect="auto", interpolation="none")
    axes.grid(False)
    _name_ticks(axes, grid, data_card, font_size, room)
    if max(values.shape) <= _LARGEST_WRITTEN:
        for (row, column), value in np.ndenumerate(values):
            text = DASH if np.isnan(value) else f"{100 * value:.0f}"
            colour = "white" if value > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=font_size)
    for row, column in _aligned_cells(grid, manifest):
        box = (column - 0.46, row - 0.46)
        axes.add_patch(Rectangle(box, 0.92, 0.92, fill=False, edgecolor=ALIGNED, linewidth=1.8))


def _name_ticks(
    axes: Axes, grid: pd.DataFrame, data_card: Mapping[str, Any], font_size: float, room: int
) -> None:
    # Names on every row and column of a large grid would overprint each other.
    stride = max(1, -(-max(grid.shape) // (room // 2)))
    label_ticks, bias_ticks = range(0, len(grid), stride), range(0, grid.shape[1], stride)
    labels = [attribute_name(data_card, "label", grid.index[tick], 16) for tick in label_ticks]
    biases = [attribute_name(data_card, "bias", int(grid.columns[tick]), 16) for tick in bias_ticks]
    axes.set_yticks(label_ticks, labels, fontsize=font_size)
    turned = max(map(len, biases)) > room / len(biases) - 2
    axes.set_xticks(bias_ticks, biases, fontsize=font_size, rotation=60 if turned else 0)
    axes.set_ylabel(_with_its_name("label", data_card))
    axes.set_xlabel(_with_its_name("bias", data_card))


def _with_its_name(attribute: str, data_card: Mapping[str, Any]) -> str:
    """As in `label: digit`; one's own images have labels that are called just that."""
    name = str(data_card[f"{attribute}_name"])
    return attribute if name == attribute else shortened(f"{attribute}: {name}", 40)


def _aligned_cells(grid: pd.DataFrame, manifest: pd.DataFrame) -> list[tuple[int, int]]:
    aligned = manifest[manifest["conflicting"].astype("boolean").eq(False).fillna(False)]
    pairs = set(zip(aligned["label"].tolist(), aligned["bias"].tolist(), strict=True))
    return [
        (row, column)
        for row, label in enumerate(grid.index)
        for column, bias in enumerate(grid.columns)
        if (label, bias) in pairs
    ]


def add_colour_bar(figure: Figure, axes: Sequence[Axes]) -> None:
    """Put the scale of greys beside the heat maps on `axes`, of which the first is not empty."""
    bar = figure.colorbar(axes[0].images[0], ax=list(axes), fraction=0.05, pad=0.02)
    bar.set_label("accuracy in the group")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
