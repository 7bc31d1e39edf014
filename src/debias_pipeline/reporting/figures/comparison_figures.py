"""Figures that compare methods on one data set, as SVG text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from debias_pipeline.names import Metric
from debias_pipeline.records import DataCard, Metrics
from debias_pipeline.reporting.figures.plots import (
    LINES,
    accuracy_grid,
    add_colour_bar,
    draw_curve,
    draw_heat_map,
    drawing_style,
    format_accuracy_axis,
    format_step_axis,
    legend_name,
    method_look,
    new_figure,
    percent_formatter,
    to_svg,
)
from debias_pipeline.reporting.metric_table import (
    COMPARED,
    images_in_brackets,
    last_step,
    metric_text,
    why_no_value,
)
from debias_pipeline.reporting.text import DASH, known

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_comparison_figures(
    metrics: Sequence[Metrics],
    histories: Mapping[str, pd.DataFrame],
    group_accuracies: Mapping[str, pd.DataFrame],
    manifest: pd.DataFrame,
    data_card: DataCard,
) -> dict[str, str]:
    """Draw several methods on the same axes.

    Args:
        metrics: metrics of each method, the baseline first; legends have the same order.
        histories: training history by method.
        group_accuracies: group accuracies by method; empty without bias labels.
        manifest: row i describes image i.
        data_card: data card of the data set.

    Returns:
        SVG text by name of the figure: `compared_learning_curves`, `compared_metrics`, and
        `compared_group_heat_maps` if there are bias labels.
    """
    with drawing_style():
        drawn = {
            "compared_learning_curves": _compared_learning_curves(metrics, histories, data_card),
            "compared_metrics": _compared_metrics(metrics),
            "compared_group_heat_maps": _compared_heat_maps(
                metrics, group_accuracies, manifest, data_card
            ),
        }
        return {name: to_svg(fig, name) for name, fig in drawn.items() if fig is not None}


def _compared_learning_curves(
    metrics: Sequence[Metrics], histories: Mapping[str, pd.DataFrame], data_card: DataCard
) -> "Figure":
    figure = new_figure(3.7)
    panels = figure.subplots(1, 2, sharey=True)
    columns: tuple[tuple[Metric, str], ...] = (
        ("accuracy", "All"),
        ("conflicting_accuracy", "Bias-conflicting"),
    )
    for axes, (key, title) in zip(panels, columns, strict=True):
        for position, of_method in enumerate(metrics):
            method, history = of_method["method"], histories[of_method["method"]]
            line, name = LINES[position % len(LINES)], legend_name(method)
            draw_curve(axes, history, f"test_{key}", name, method_look(position)[0], line)
        format_accuracy_axis(axes)
        format_step_axis(axes)
        axes.locator_params("x", nbins=4)
        axes.set_title(f"{title} test images{images_in_brackets(metrics[0], key)}")
        if not axes.lines:
            text = f"no value:\n{why_no_value(key, data_card)}"
            axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", fontsize=8)
    panels[1].set_ylabel("")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _compared_metrics(metrics: Sequence[Metrics]) -> "Figure":
    figure = new_figure(3.7)
    axes = figure.add_subplot()
    for position, of_method in enumerate(metrics):
        offset = 0.7 * ((position + 0.5) / len(metrics) - 0.5)
        _draw_dots(axes, of_method, offset, method_look(position))
    unbiased = metrics[0].get("unbiased_test")
    names = [
        metric_text(key, unbiased).name
        # The worst group differs from method to method.
        + ("" if key == "worst_group_accuracy" else images_in_brackets(metrics[0], key))
        for key in COMPARED
    ]
    names = [name.replace(" (", "\n(") for name in names]
    axes.set_xticks(range(len(COMPARED)), names)
    axes.set_xlim(-0.5, len(COMPARED) - 0.5)
    axes.grid(False, axis="x")
    axes.set_ylim(-0.03, 1.08)
    axes.yaxis.set_major_formatter(percent_formatter())
    axes.set_ylabel("accuracy at the last step")
    axes.set_title("Large mark: mean over seeds. Small dots: single seeds.")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_dots(axes: "Axes", metrics: Metrics, offset: float, look: tuple[str, str]) -> None:
    colour, marker = look
    last = last_step(metrics)
    # An empty series, so that a method without any metric is in the legend.
    axes.scatter([], [], s=55, color=colour, marker=marker, label=legend_name(metrics["method"]))
    for position, key in enumerate(COMPARED):
        mean = last[key]["mean"]
        place = position + offset
        if mean is None:
            axes.text(place, 0, DASH, ha="center", color=colour)
            continue
        seeds = known(last[key]["per_seed"])
        axes.bar(place, mean, width=0.03, color=colour, alpha=0.35)
        axes.scatter(np.full(len(seeds), place + 0.06), seeds, s=9, color=colour, alpha=0.8)
        axes.scatter(place, mean, s=55, color=colour, marker=marker, edgecolor="white", zorder=3)
        top = max([mean, *seeds])
        axes.text(place, top + 0.04, f"{100 * mean:.1f}", ha="center", color=colour, fontsize=8)


def _compared_heat_maps(
    metrics: Sequence[Metrics],
    group_accuracies: Mapping[str, pd.DataFrame],
    manifest: pd.DataFrame,
    data_card: DataCard,
) -> "Figure | None":
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
        axes.set_title(legend_name(method))
    for axes in panels[len(present) :]:
        axes.set_axis_off()
    add_colour_bar(figure, list(panels))
    return figure
