"""Figures that compare methods: on one data set, and of a leaderboard, as SVG text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from debias_pipeline.names import Metric
from debias_pipeline.records import DataCard, Metrics
from debias_pipeline.reporting.leaderboard import Leaderboard, LeaderboardRow, rows_by_dataset
from debias_pipeline.reporting.leaderboard_sections import headline_of
from debias_pipeline.reporting.metric_table import (
    COMPARED,
    images_in_brackets,
    last_step,
    metric_text,
    why_no_value,
)
from debias_pipeline.reporting.plots import (
    LINES,
    METHOD_COLOURS,
    METHOD_MARKERS,
    NEUTRAL,
    accuracy_grid,
    add_colour_bar,
    draw_curve,
    draw_heat_map,
    drawing_style,
    format_accuracy_axis,
    format_step_axis,
    new_figure,
    percent_formatter,
    to_svg,
)
from debias_pipeline.reporting.text import DASH, REFERENCE_MARK, known, shortened
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_NAME: Final = 30
_DODGE: Final = 0.36  # width of the marks of all methods; the next percent is at a distance of 1

# --- Methods on one data set ----------------------------------------------------------------------


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


def _name(method: str) -> str:
    return shortened(method, _LONGEST_NAME)


def _method_look(position: int) -> tuple[str, str]:
    """Return the colour and the marker of a method by its position in the legend."""
    return (
        METHOD_COLOURS[position % len(METHOD_COLOURS)],
        METHOD_MARKERS[position % len(METHOD_MARKERS)],
    )


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
            line, name = LINES[position % len(LINES)], _name(method)
            draw_curve(axes, history, f"test_{key}", name, _method_look(position)[0], line)
        format_accuracy_axis(axes)
        format_step_axis(axes)
        axes.locator_params("x", nbins=4)
        axes.set_title(f"{title} test images{images_in_brackets(metrics[0], key)}")
        if not axes.lines:
            text = "\n".join(why_no_value(key, data_card).split(": "))
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
        _draw_dots(axes, of_method, offset, _method_look(position))
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
    axes.scatter([], [], s=55, color=colour, marker=marker, label=_name(metrics["method"]))
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
        axes.set_title(_name(method))
    for axes in panels[len(present) :]:
        axes.set_axis_off()
    add_colour_bar(figure, list(panels))
    return figure


# --- Methods on a leaderboard ---------------------------------------------------------------------


def draw_leaderboard_figures(leaderboard: Leaderboard) -> dict[str, str]:
    """Draw the headline metric of every data set against its percents.

    Returns:
        SVG text by data set: a panel for each selection rule with mean and standard deviation by
        method, published accuracies as hollow marks. A data set without any value is left out.
    """
    return {
        name: _draw_data_set(rows)
        for name, rows in rows_by_dataset(leaderboard).items()
        if any(row["mean"] is not None for row in rows)
    }


def _draw_data_set(rows: Sequence[LeaderboardRow]) -> str:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    percents = list(dict.fromkeys(row["percent"] for row in rows))
    with drawing_style():
        figure = new_figure(3.5)
        panels = figure.subplots(1, len(SELECTION_RULES), sharey=True)
        for axes, rule in zip(panels, SELECTION_RULES.values(), strict=True):
            of_rule = [row for row in rows if row["protocol"] == rule.key]
            for position, method in enumerate(methods):
                mine = [row for row in of_rule if row["method"] == method]
                offset = _DODGE * ((position + 0.5) / len(methods) - 0.5)
                _draw_method(axes, mine, percents, offset, _method_look(position))
            _format_panel(axes, rule, percents)
            if all(row["mean"] is None for row in of_rule):
                axes.text(
                    0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=NEUTRAL
                )
        panels[0].set_ylabel(headline_of(rows)[1])
        if any(percents):
            # One for all panels, which are too narrow for it.
            figure.supxlabel("bias-conflicting training images", fontsize="medium")
        figure.legend(handles=_legend(panels[-1], rows), loc="outside lower center", ncols=4)
        return to_svg(figure, f"leaderboard-{rows[0]['dataset']}")


def _legend(axes: "Axes", rows: Sequence[LeaderboardRow]) -> "list[Artist]":
    from matplotlib.lines import Line2D

    handles, _ = axes.get_legend_handles_labels()
    if all(row["published"] is None for row in rows):
        return list(handles)
    hollow = Line2D([], [], marker="o", mfc="none", mec=NEUTRAL, linewidth=0, label="published")
    return [*handles, hollow]


def _draw_method(
    axes: "Axes",
    rows: Sequence[LeaderboardRow],
    percents: Sequence[str],
    offset: float,
    look: tuple[str, str],
) -> None:
    colour, marker = look
    is_reference = all(row.get("reference") for row in rows)
    places = [percents.index(row["percent"]) + offset for row in rows]
    measured = [
        (place, mean, row["std"] or 0.0)
        for place, row in zip(places, rows, strict=True)
        if (mean := row["mean"]) is not None
    ]
    axes.errorbar(
        [place for place, _, _ in measured],
        [mean for _, mean, _ in measured],
        yerr=[std for _, _, std in measured],
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1,
        elinewidth=1.4,
        capsize=2.5,
        label=_name(rows[0]["method"]) + (REFERENCE_MARK if is_reference else ""),
    )
    published = [
        (place, accuracy)
        for place, row in zip(places, rows, strict=True)
        if (accuracy := row["published"]) is not None
    ]
    axes.scatter(
        [place for place, _ in published],
        [accuracy for _, accuracy in published],
        s=46,
        marker=marker,
        facecolor="none",
        edgecolor=colour,
        linewidth=1.2,
        zorder=4,
    )


def _format_panel(axes: "Axes", rule: SelectionRule, percents: Sequence[str]) -> None:
    axes.set_xticks(range(len(percents)), [_percent_name(percent) for percent in percents])
    axes.set_xlim(-0.5, len(percents) - 0.5)
    axes.grid(False, axis="x")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(percent_formatter())
    axes.set_title(f"{rule.name} (leaks)" if rule.leaks else rule.name)


def _percent_name(percent: str) -> str:
    number = percent.removesuffix("pct")
    return shortened(percent if number == percent else f"{number} %", 12)
