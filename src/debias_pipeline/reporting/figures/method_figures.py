"""Figures of one method, as SVG text."""

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.methods import Method, get_method, method_names
from debias_pipeline.names import Metric
from debias_pipeline.records import DataCard, Metrics
from debias_pipeline.reporting.figures.image_grids import draw_most_conflicting, draw_sample_grid
from debias_pipeline.reporting.figures.plots import (
    ALIGNED,
    CONFLICTING,
    LINES,
    METHOD_COLOURS,
    OVERALL,
    accuracy_grid,
    add_colour_bar,
    by_kind,
    draw_curve,
    draw_heat_map,
    drawing_style,
    format_accuracy_axis,
    format_step_axis,
    new_figure,
    over_seeds,
    to_svg,
    weights_by_image,
)
from debias_pipeline.reporting.metric_table import images_in_brackets, selected_steps
from debias_pipeline.selection_rules import BEST_ON_TEST, PSEUDO_GROUPS, SELECTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVES: Final[tuple[tuple[Metric, str, str], ...]] = (
    ("accuracy", "all", OVERALL),
    ("aligned_accuracy", "bias-aligned", ALIGNED),
    ("conflicting_accuracy", "bias-conflicting", CONFLICTING),
)
_LOSS_COLOURS: Final = (OVERALL, *METHOD_COLOURS[1:], METHOD_COLOURS[0])
# Selection rule → marker, face colour, text of the legend.
_MARKS: Final = {
    SELECTED: ("D", OVERALL, "selected on valid, by seed"),
    PSEUDO_GROUPS: ("s", "white", "pseudo-groups on valid, by seed"),
    BEST_ON_TEST: ("*", "white", "best on test, by seed (leaks: chosen on the test set)"),
}


def draw_figures(
    metrics: Metrics,
    history: pd.DataFrame,
    sample_weights: pd.DataFrame,
    group_accuracy: pd.DataFrame,
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
) -> dict[str, str]:
    """Draw the figures of one method's report for which there is data.

    Args:
        metrics: metrics of the method.
        history: a row per evaluation step and seed.
        sample_weights: a row per training image and seed; `weight` is null if there is none.
        group_accuracy: a row per selection rule, seed, label and bias; empty without bias labels.
        images: uint8, [N, H, W, 3]; only the rows that are shown are read.
        manifest: row i describes images[i].
        data_card: data card of the data set.

    Returns:
        SVG text by name of the figure. `learning_curves` is missing without history,
        `group_heat_map` without bias labels, `weight_histogram` and `most_conflicting` without
        weights, `loss_curves` without losses, `sample_grid` without training images.
    """
    method = _method(metrics["method"])
    weight_name = method.weight_name or "weight"
    with drawing_style():
        drawn = {
            "learning_curves": _learning_curves(metrics, history),
            "loss_curves": _loss_curves(history, method),
            "group_heat_map": _group_heat_map(group_accuracy, manifest, data_card),
            "weight_histogram": _weight_histogram(sample_weights, weight_name),
            "sample_grid": draw_sample_grid(images, manifest, data_card),
            "most_conflicting": draw_most_conflicting(
                sample_weights, images, manifest, data_card, weight_name
            ),
        }
        prefix = f"{metrics['method']}-"
        return {name: to_svg(fig, prefix + name) for name, fig in drawn.items() if fig is not None}


def _method(name: str) -> type[Method]:
    """Return the class that names loss terms and weights; the base class for an unknown method."""
    return get_method(name) if name in method_names() else Method


def _learning_curves(metrics: Metrics, history: pd.DataFrame) -> "Figure | None":
    if history.empty:
        return None
    figure = new_figure(4.3)
    axes = figure.add_subplot()
    for key, name, colour in _CURVES:
        unbiased = key == "accuracy" and metrics.get("unbiased_test")
        label = f"test, {'unbiased' if unbiased else name}{images_in_brackets(metrics, key)}"
        draw_curve(axes, history, f"test_{key}", label, colour)
    for key, name, colour in _CURVES:
        means = over_seeds(history, f"valid_{key}")["mean"]
        if not means.empty:
            axes.plot(means, color=colour, linewidth=0.8, linestyle="--", label=f"valid, {name}")
    _mark_checkpoints(axes, metrics)
    format_accuracy_axis(axes)
    format_step_axis(axes)
    axes.set_title(_seeds_title(history))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _mark_checkpoints(axes: "Axes", metrics: Metrics) -> None:
    for rule, (marker, face, label) in _MARKS.items():
        if found := selected_steps(metrics, rule):
            _, steps, accuracies = zip(*found, strict=True)
            axes.scatter(
                steps,
                accuracies,
                marker=marker,
                s=70 if marker == "*" else 22,
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


def _loss_curves(history: pd.DataFrame, method: type[Method]) -> "Figure | None":
    terms = [str(column) for column in history if str(column).startswith("loss")]
    terms = [term for term in terms if bool(history[term].notna().any())]
    if not terms:
        return None
    figure = new_figure(3.2)
    axes = figure.add_subplot()
    for position, term in enumerate(terms):
        plain_name = term.removeprefix("loss_").replace("_", " ")
        name = "total" if term == "loss" else method.loss_terms.get(term, plain_name)
        colour = _LOSS_COLOURS[position % len(_LOSS_COLOURS)]
        draw_curve(axes, history, term, name, colour, LINES[position % len(LINES)])
    # Terms differ by orders of magnitude; a logarithmic axis cannot show zero.
    if bool((history[terms].min() > 0).all()):
        _use_logarithmic_scale(axes)
    axes.set_ylabel("loss")
    axes.set_title(_seeds_title(history))
    format_step_axis(axes)
    figure.legend(loc="outside lower center", ncols=min(5, len(terms)))
    return figure


def _group_heat_map(
    group_accuracy: pd.DataFrame, manifest: pd.DataFrame, data_card: DataCard
) -> "Figure | None":
    grid = accuracy_grid(group_accuracy)
    if grid is None:
        return None
    figure = new_figure(min(6.2, 1.7 + 0.42 * len(grid)))
    axes = figure.add_subplot()
    draw_heat_map(axes, grid, manifest, data_card, font_size=8, room=60)
    add_colour_bar(figure, [axes])
    return figure


def _weight_histogram(sample_weights: pd.DataFrame, weight_name: str) -> "Figure | None":
    by_image = weights_by_image(sample_weights)
    if by_image.empty:
        return None
    weight = by_image["weight"]
    highest = max(1.0, float(weight.max()))
    figure = new_figure(3.4)
    axes = figure.add_subplot()
    for name, colour, of_kind in by_kind(by_image["conflicting"]):
        values = weight[of_kind]
        if not values.empty:
            _draw_histogram(axes, values, highest, f"{name} ({len(values):,} images)", colour)
    _use_logarithmic_scale(axes)
    axes.set_xlim(0, highest)
    axes.set_ylim(bottom=0.7)
    axes.set_xlabel(f"{weight_name} of a training image, mean over seeds")
    axes.set_ylabel("training images (logarithmic)")
    axes.text(0, 1.02, "← seems bias-aligned", transform=axes.transAxes)
    axes.text(1, 1.02, "seems bias-conflicting →", transform=axes.transAxes, ha="right")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _use_logarithmic_scale(axes: "Axes") -> None:
    axes.set_yscale("log")
    # matplotlib's default labels are formulas, which `drawing_style` switches off.
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_minor_formatter("")


def _draw_histogram(
    axes: "Axes", values: pd.Series, highest: float, label: str, colour: str
) -> None:
    edges = np.linspace(0, highest, 41)
    counts, _ = np.histogram(values.to_numpy(), bins=edges)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.25)
    axes.stairs(counts, edges, color=colour, linewidth=1.4, label=label)
