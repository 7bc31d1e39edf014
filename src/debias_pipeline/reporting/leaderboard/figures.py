"""Draw the figures of a leaderboard as SVG text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from debias_pipeline.reporting.figures.plots import (
    NEUTRAL,
    drawing_style,
    legend_name,
    method_look,
    new_figure,
    percent_formatter,
    to_svg,
)
from debias_pipeline.reporting.leaderboard.rows import Leaderboard, LeaderboardRow, drawn_rows
from debias_pipeline.reporting.leaderboard.sections import headline_of
from debias_pipeline.reporting.text import REFERENCE_MARK, shortened
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_DODGE: Final = 0.36  # width of the marks of all methods; the next percent is at a distance of 1


def draw_leaderboard_figures(leaderboard: Leaderboard) -> dict[str, str]:
    """Draw accuracy against the percent of bias-conflicting images, one figure per data set.

    Returns:
        SVG text by data set: a panel for each selection rule with mean and standard deviation by
        method, published accuracies as hollow marks. A data set without any value is left out.
    """
    return {name: _draw_data_set(rows) for name, rows in drawn_rows(leaderboard).items()}


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
                _draw_method(axes, mine, percents, offset, method_look(position))
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
        label=legend_name(rows[0]["method"]) + (REFERENCE_MARK if is_reference else ""),
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
    axes.set_xticks(range(len(percents)), [_tick_name(percent) for percent in percents])
    axes.set_xlim(-0.5, len(percents) - 0.5)
    axes.grid(False, axis="x")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(percent_formatter())
    axes.set_title(f"{rule.name} (leaks)" if rule.leaks else rule.name)


def _tick_name(percent: str) -> str:
    number = percent.removesuffix("pct")
    return shortened(percent if number == percent else f"{number} %", 12)
