"""Curves against the training step: mean over seeds, with a band around it."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter


def draw_curve(
    axes: Axes, history: pd.DataFrame, column: str, label: str, colour: str, line: str = "-"
) -> None:
    """Draw the mean over seeds, and a band from the lowest to the highest seed if there are more.

    Args:
        axes: where to draw.
        history: a row per evaluation step and seed.
        column: of the history; where it is missing or all null, nothing is drawn.
        label: in the legend.
        colour: of line and band.
        line: matplotlib's style of the line.
    """
    curve = over_seeds(history, column)
    if curve.empty:
        return
    axes.plot(curve["mean"], color=colour, label=label, linestyle=line)
    if history["seed"].nunique() > 1:
        axes.fill_between(
            curve.index, curve["min"], curve["max"], color=colour, alpha=0.15, linewidth=0
        )


def over_seeds(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean, min and max over seeds by step; empty where the column is missing or all null."""
    if column not in history:
        return pd.DataFrame({"mean": [], "min": [], "max": []}, dtype="float64")
    values = history[["step", column]].dropna()
    by_step = values.astype({column: "float64"}).groupby("step")[column]
    return by_step.agg(["mean", "min", "max"])


def finish_accuracy_axes(axes: Axes) -> None:
    """Give axes of accuracies in 0..1 against steps their limits, ticks and names."""
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylabel("accuracy")
    finish_step_axis(axes)


def finish_step_axis(axes: Axes) -> None:
    """Mark whole steps along the lower edge."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("step")
