"""Figures of several methods side by side, as SVG text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from debias_pipeline.reporting.curves import draw_curve, finish_accuracy_axes, over_seeds
from debias_pipeline.reporting.formatting import DASH, known
from debias_pipeline.reporting.heat_maps import accuracy_grid, add_colour_bar, draw_heat_map
from debias_pipeline.reporting.names import shortened
from debias_pipeline.reporting.style import (
    METHOD_COLOURS,
    METHOD_MARKERS,
    drawing_style,
    new_figure,
    to_svg,
)
from debias_pipeline.reporting.wording import metric_of

_COMPARED = (
    "accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
)


def draw_comparison_figures(
    metrics: Sequence[Mapping[str, Any]],
    histories: Mapping[str, pd.DataFrame],
    group_accuracies: Mapping[str, pd.DataFrame],
    manifest: pd.DataFrame,
    data_card: Mapping[str, Any],
) -> dict[str, str]:
    """Draw several methods on the same axes.

    Args:
        metrics: of each method, the baseline first; this order is the order of the legend.
        histories: each method's history, by method.
        group_accuracies: each method's group accuracies, by method; empty without bias labels.
        manifest: row i describes image i.
        data_card: what is worth knowing about the data set.

    Returns:
        SVG text by figure name: `compared_learning_curves`, `compared_metrics`, and
        `compared_group_heat_maps` where there are bias labels.
    """
    with drawing_style():
        drawn = {
            "compared_learning_curves": _compared_learning_curves(metrics, histories),
            "compared_metrics": _compared_metrics(metrics),
            "compared_group_heat_maps": _compared_heat_maps(
                metrics, group_accuracies, manifest, data_card
            ),
        }
        return {name: to_svg(fig, name) for name, fig in drawn.items() if fig is not None}


def _method_look(position: int) -> tuple[str, str]:
    return (
        METHOD_COLOURS[position % len(METHOD_COLOURS)],
        METHOD_MARKERS[position % len(METHOD_MARKERS)],
    )


def _compared_learning_curves(
    metrics: Sequence[Mapping[str, Any]], histories: Mapping[str, pd.DataFrame]
) -> Figure:
    figure = new_figure(3.7)
    panels = figure.subplots(1, 2, sharey=True)
    columns = (("test_accuracy", "All"), ("test_conflicting_accuracy", "Bias-conflicting"))
    for axes, (column, title) in zip(panels, columns, strict=True):
        empty = True
        for position, of_method in enumerate(metrics):
            method, history = of_method["method"], histories[of_method["method"]]
            line = ("-", "--", "-.", ":")[position % 4]
            name = shortened(method, 30)
            draw_curve(axes, history, column, name, _method_look(position)[0], line)
            empty = empty and over_seeds(history, column).empty
        finish_accuracy_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_title(f"{title} test images")
        if empty:
            axes.text(0.5, 0.5, "no bias labels", transform=axes.transAxes, ha="center")
    panels[1].set_ylabel("")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _compared_metrics(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    figure = new_figure(3.7)
    axes = figure.add_subplot()
    for position, of_method in enumerate(metrics):
        offset = 0.7 * ((position + 0.5) / len(metrics) - 0.5)
        _draw_dots(axes, of_method, offset, _method_look(position))
    names = [metric_of(key, metrics[0].get("unbiased_test")).name for key in _COMPARED]
    axes.set_xticks(range(len(_COMPARED)), names)
    axes.set_xlim(-0.5, len(_COMPARED) - 0.5)
    axes.grid(False, axis="x")
    axes.set_ylim(-0.03, 1.08)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylabel("accuracy at the last step")
    axes.set_title("Large mark: mean over seeds. Small dots: single seeds.")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_dots(
    axes: Axes, metrics: Mapping[str, Any], offset: float, look: tuple[str, str]
) -> None:
    colour, marker = look
    last = metrics["checkpoints"]["last"]
    # An empty series keeps the method in the legend even where every metric is null.
    axes.scatter([], [], s=55, color=colour, marker=marker, label=shortened(metrics["method"], 30))
    for position, key in enumerate(_COMPARED):
        mean = known(last[key]["mean"])
        place = position + offset
        if mean is None:
            axes.text(place, 0, DASH, ha="center", color=colour)
            continue
        seeds = [value for value in map(known, last[key]["per_seed"]) if value is not None]
        axes.bar(place, mean, width=0.03, color=colour, alpha=0.35)
        axes.scatter(np.full(len(seeds), place + 0.06), seeds, s=9, color=colour, alpha=0.8)
        axes.scatter(place, mean, s=55, color=colour, marker=marker, edgecolor="white", zorder=3)
        top = max([mean, *seeds])
        axes.text(place, top + 0.04, f"{100 * mean:.1f}", ha="center", color=colour, fontsize=8)


def _compared_heat_maps(
    metrics: Sequence[Mapping[str, Any]],
    group_accuracies: Mapping[str, pd.DataFrame],
    manifest: pd.DataFrame,
    data_card: Mapping[str, Any],
) -> Figure | None:
    grids = {m["method"]: accuracy_grid(group_accuracies[m["method"]]) for m in metrics}
    present = {method: grid for method, grid in grids.items() if grid is not None}
    if not present:
        return None
    across = min(2, len(present))
    down = -(-len(present) // across)
    figure = new_figure(3.6 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (method, grid) in zip(panels, present.items(), strict=False):
        draw_heat_map(axes, grid, manifest, data_card, font_size=6.5, room=35)
        axes.set_title(shortened(method, 30))
    for axes in panels[len(present) :]:
        axes.set_axis_off()
    add_colour_bar(figure, list(panels))
    return figure
