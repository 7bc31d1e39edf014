"""Accuracy against percent, one figure a data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from debias_pipeline.reporting.leaderboard.wording import headline_of
from debias_pipeline.reporting.names import shortened
from debias_pipeline.reporting.style import (
    METHOD_COLOURS,
    METHOD_MARKERS,
    NEUTRAL,
    drawing_style,
    new_figure,
    to_svg,
)
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule

_DODGE = 0.36  # of the room between two percents, all methods together


def draw_leaderboard_figures(leaderboard: Mapping[str, Any]) -> dict[str, str]:
    """Draw every data set's headline against its percents.

    Args:
        leaderboard: from `make_leaderboard`.

    Returns:
        SVG text by data set: a panel for each protocol with mean and standard deviation by
        method, published figures as hollow marks beside best on test. A data set without any
        figure is left out.
    """
    rows = leaderboard["rows"]
    datasets = dict.fromkeys(row["dataset"] for row in rows if row["mean"] is not None)
    return {name: _draw([row for row in rows if row["dataset"] == name]) for name in datasets}


def _draw(rows: Sequence[Mapping[str, Any]]) -> str:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    percents = list(dict.fromkeys(row["percent"] for row in rows))
    with drawing_style():
        figure = new_figure(3.5)
        panels = figure.subplots(1, len(SELECTION_RULES), sharey=True)
        for axes, protocol in zip(panels, SELECTION_RULES.values(), strict=True):
            of_protocol = [row for row in rows if row["protocol"] == protocol.key]
            for place, method in enumerate(methods):
                mine = [row for row in of_protocol if row["method"] == method]
                offset = _DODGE * ((place + 0.5) / len(methods) - 0.5)
                _draw_method(axes, mine, percents, offset, place)
            _finish(axes, protocol, percents, any(row["mean"] is not None for row in of_protocol))
        panels[0].set_ylabel(headline_of(rows)[1])
        figure.legend(handles=_legend(panels[-1], rows), loc="outside lower center", ncols=4)
        return to_svg(figure, f"leaderboard-{rows[0]['dataset']}")


def _legend(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> list[Artist]:
    handles, _ = axes.get_legend_handles_labels()
    if all(row["published"] is None for row in rows):
        return list(handles)
    hollow = Line2D([], [], marker="o", mfc="none", mec=NEUTRAL, linewidth=0, label="published")
    return [*handles, hollow]


def _draw_method(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    percents: Sequence[str],
    offset: float,
    place: int,
) -> None:
    colour = METHOD_COLOURS[place % len(METHOD_COLOURS)]
    marker = METHOD_MARKERS[place % len(METHOD_MARKERS)]
    known = [row for row in rows if row["mean"] is not None]
    axes.errorbar(
        [percents.index(row["percent"]) + offset for row in known],
        [row["mean"] for row in known],
        yerr=[row["std"] or 0.0 for row in known],
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1,
        elinewidth=1.4,
        capsize=2.5,
        label=shortened(rows[0]["method"], 30),
    )
    published = [row for row in rows if row["published"] is not None]
    axes.scatter(
        [percents.index(row["percent"]) + offset for row in published],
        [row["published"] for row in published],
        s=46,
        marker=marker,
        facecolor="none",
        edgecolor=colour,
        linewidth=1.2,
        zorder=4,
    )


def _finish(axes: Axes, protocol: SelectionRule, percents: Sequence[str], drawn: bool) -> None:
    axes.set_xticks(range(len(percents)), [_percent_name(percent) for percent in percents])
    axes.set_xlim(-0.5, len(percents) - 0.5)
    axes.grid(False, axis="x")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlabel("bias-conflicting training images")
    leak = " (leaks)" if protocol.leaks else ""
    axes.set_title(f"{protocol.name}{leak}")
    if not drawn:
        axes.text(0.5, 0.5, "no figures", transform=axes.transAxes, ha="center", color=NEUTRAL)


def _percent_name(percent: str) -> str:
    number = percent.removesuffix("pct")
    return shortened(percent if number == percent else f"{number} %", 12)
