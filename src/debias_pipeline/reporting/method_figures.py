"""Figures of one method, as SVG text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from debias_pipeline.reporting.curves import (
    draw_curve,
    finish_accuracy_axes,
    finish_step_axis,
    over_seeds,
)
from debias_pipeline.reporting.formatting import known
from debias_pipeline.reporting.heat_maps import accuracy_grid, add_colour_bar, draw_heat_map
from debias_pipeline.reporting.image_grids import draw_most_conflicting, draw_sample_grid
from debias_pipeline.reporting.style import (
    ALIGNED,
    CONFLICTING,
    NEUTRAL,
    OVERALL,
    drawing_style,
    new_figure,
    to_svg,
)

_SPLITS_OF_TEST = (
    ("accuracy", "all", OVERALL),
    ("aligned_accuracy", "bias-aligned", ALIGNED),
    ("conflicting_accuracy", "bias-conflicting", CONFLICTING),
)
_LOSS_NAMES = {
    "loss": "total",
    "loss_intrinsic": "intrinsic",
    "loss_bias": "bias",
    "loss_swap_intrinsic": "swap, intrinsic",
    "loss_swap_bias": "swap, bias",
}
_LOSS_COLOURS = ("#222222", "#7b3fa0", "#b8860b", "#009e73", "#cc79a7", "#56b4e9")


def draw_figures(
    metrics: Mapping[str, Any],
    history: pd.DataFrame,
    sample_weights: pd.DataFrame,
    group_accuracy: pd.DataFrame,
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: Mapping[str, Any],
) -> dict[str, str]:
    """Draw every figure of one method's report that its data allows.

    Args:
        metrics: the method's metrics; fractions in 0..1.
        history: a row per evaluation step and seed.
        sample_weights: a row per training image and seed; `weight` null where none is given.
        group_accuracy: a row per checkpoint, seed, label and bias; empty without bias labels.
        images: uint8, N × H × W × 3; only the rows that are shown are read.
        manifest: row i describes images[i].
        data_card: what is worth knowing about the data set.

    Returns:
        SVG text by figure name. `learning_curves` is missing without history, `group_heat_map`
        without bias labels,
        `weight_histogram` and `most_conflicting` without weights, `loss_curves` without losses.
    """
    with drawing_style():
        drawn = {
            "learning_curves": _learning_curves(metrics, history),
            "loss_curves": _loss_curves(history),
            "group_heat_map": _group_heat_map(group_accuracy, manifest, data_card),
            "weight_histogram": _weight_histogram(sample_weights),
            "sample_grid": draw_sample_grid(images, manifest, data_card),
            "most_conflicting": draw_most_conflicting(sample_weights, images, manifest, data_card),
        }
        prefix = f"{metrics['method']}-"
        return {name: to_svg(fig, prefix + name) for name, fig in drawn.items() if fig is not None}


def _learning_curves(metrics: Mapping[str, Any], history: pd.DataFrame) -> Figure | None:
    if history.empty:
        return None
    figure = new_figure(4.3)
    axes = figure.add_subplot()
    for key, name, colour in _SPLITS_OF_TEST:
        unbiased = key == "accuracy" and metrics.get("unbiased_test")
        label = f"test, {'unbiased' if unbiased else name}"
        draw_curve(axes, history, f"test_{key}", label, colour)
    for key, name, colour in _SPLITS_OF_TEST:
        means = over_seeds(history, f"valid_{key}")["mean"]
        if not means.empty:
            axes.plot(means, color=colour, linewidth=0.8, linestyle="--", label=f"valid, {name}")
    _mark_checkpoints(axes, metrics)
    finish_accuracy_axes(axes)
    axes.set_title(_seeds_title(history))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _mark_checkpoints(axes: Axes, metrics: Mapping[str, Any]) -> None:
    marks = {
        "selected": ("D", OVERALL, "selected on valid, by seed"),
        "pseudo_groups": ("s", "white", "pseudo-groups on valid, by seed"),
        "best_on_test": ("*", "white", "best on test, by seed (leaks: chosen on the test set)"),
    }
    for key, (marker, face, label) in marks.items():
        checkpoint = metrics["checkpoints"].get(key)
        if checkpoint is None:
            continue
        seeds = zip(checkpoint["step"]["per_seed"], checkpoint["accuracy"]["per_seed"], strict=True)
        places = [place for place in seeds if None not in map(known, place)]
        if places:
            size = 70 if marker == "*" else 22
            steps, accuracies = zip(*places, strict=True)
            axes.scatter(
                steps,
                accuracies,
                marker=marker,
                s=size,
                facecolor=face,
                edgecolor=OVERALL,
                linewidth=0.9,
                zorder=4,
                label=label,
            )


def _seeds_title(history: pd.DataFrame) -> str:
    seeds = history["seed"].nunique()
    if seeds <= 1:
        return "One seed"
    return f"Line: mean of {seeds} seeds. Band: lowest to highest seed."


def _loss_curves(history: pd.DataFrame) -> Figure | None:
    terms = [str(column) for column in history if str(column).startswith("loss")]
    terms = [term for term in terms if bool(history[term].notna().any())]
    if not terms:
        return None
    figure = new_figure(3.2)
    axes = figure.add_subplot()
    for position, term in enumerate(terms):
        name = _LOSS_NAMES.get(term, term.removeprefix("loss_").replace("_", " "))
        colour = _LOSS_COLOURS[position % len(_LOSS_COLOURS)]
        line = ("-", "--", "-.", ":")[position % 4]
        draw_curve(axes, history, term, name, colour, line)
    # Terms differ by orders of magnitude; a logarithmic axis can't show a loss of nought.
    if bool((history[terms].min() > 0).all()):
        _use_logarithmic_scale(axes)
    axes.set_ylabel("loss")
    axes.set_title(_seeds_title(history))
    finish_step_axis(axes)
    figure.legend(loc="outside lower center", ncols=min(5, len(terms)))
    return figure


def _group_heat_map(
    group_accuracy: pd.DataFrame, manifest: pd.DataFrame, data_card: Mapping[str, Any]
) -> Figure | None:
    grid = accuracy_grid(group_accuracy)
    if grid is None:
        return None
    figure = new_figure(min(6.2, 1.7 + 0.42 * len(grid)))
    axes = figure.add_subplot()
    draw_heat_map(axes, grid, manifest, data_card, font_size=8, room=60)
    add_colour_bar(figure, [axes])
    return figure


def _weight_histogram(sample_weights: pd.DataFrame) -> Figure | None:
    weighed = sample_weights[sample_weights["weight"].notna()]
    if weighed.empty:
        return None
    weighed = weighed.astype({"weight": "float64", "conflicting": "boolean"})
    by_image = weighed.groupby("image_id").agg({"weight": "mean", "conflicting": "first"})
    weight, conflicting = by_image["weight"], by_image["conflicting"]
    figure = new_figure(3.4)
    axes = figure.add_subplot()
    parts = [
        (weight[conflicting.eq(False).fillna(False)], "bias-aligned", ALIGNED),
        (weight[conflicting.eq(True).fillna(False)], "bias-conflicting", CONFLICTING),
        (weight[conflicting.isna()], "not known to be aligned or conflicting", NEUTRAL),
    ]
    for values, name, colour in parts:
        if not values.empty:
            _draw_histogram(axes, values, f"{name} ({len(values):,} images)", colour)
    _use_logarithmic_scale(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0.7)
    axes.set_xlabel("mean weight W of a training image")
    axes.set_ylabel("training images (logarithmic)")
    axes.text(0, 1.02, "← counts little: the bias explains it", transform=axes.transAxes)
    right = "counts fully: it goes against the bias →"
    axes.text(1, 1.02, right, transform=axes.transAxes, ha="right")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _use_logarithmic_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    # matplotlib's own powers of ten are formulas, which are switched off for names from data.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_histogram(axes: Axes, values: pd.Series, label: str, colour: str) -> None:
    edges = np.linspace(0, 1, 41)
    counts, _ = np.histogram(values.to_numpy(), bins=edges)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.25)
    axes.stairs(counts, edges, color=colour, linewidth=1.4, label=label)
