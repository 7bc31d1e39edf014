"""Figures of one method, and of several methods side by side, as SVG text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from debias_pipeline.reporting.formatting import DASH, known
from debias_pipeline.reporting.image_grids import draw_most_conflicting, draw_sample_grid
from debias_pipeline.reporting.names import attribute_name, shortened
from debias_pipeline.reporting.style import (
    ALIGNED,
    CONFLICTING,
    METHOD_COLOURS,
    METHOD_MARKERS,
    NEUTRAL,
    UNBIASED,
    drawing_style,
    new_figure,
    to_svg,
)
from debias_pipeline.reporting.wording import METRIC_BY_KEY

_SPLITS_OF_TEST = (
    ("accuracy", "unbiased", UNBIASED),
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
_COMPARED = (
    "accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
)
_LARGEST_WRITTEN = 12  # classes: beyond, a number no longer fits into its cell
_GREYS = LinearSegmentedColormap.from_list(
    "accuracy", ["#ffffff", "#9a9a9a", "#2b2b2b"]
).with_extremes(bad="#fbe9c6")


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
        SVG text by figure name. `group_heat_map` is missing without bias labels,
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


def _learning_curves(metrics: Mapping[str, Any], history: pd.DataFrame) -> Figure:
    figure = new_figure(4.3)
    axes = figure.add_subplot()
    for key, name, colour in _SPLITS_OF_TEST:
        _draw_curve(axes, history, f"test_{key}", f"test, {name}", colour)
    for key, name, colour in _SPLITS_OF_TEST:
        means = _over_seeds(history, f"valid_{key}")["mean"]
        if not means.empty:
            # The validation split is as biased as the training split.
            label = "valid, all" if key == "accuracy" else f"valid, {name}"
            axes.plot(means, color=colour, linewidth=0.8, linestyle="--", label=label)
    _mark_checkpoints(axes, metrics)
    _finish_accuracy_axes(axes)
    axes.set_title(_seeds_title(history))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw_curve(
    axes: Axes, history: pd.DataFrame, column: str, label: str, colour: str, line: str = "-"
) -> None:
    curve = _over_seeds(history, column)
    if curve.empty:
        return
    axes.plot(curve["mean"], color=colour, label=label, linestyle=line)
    if history["seed"].nunique() > 1:
        axes.fill_between(
            curve.index, curve["min"], curve["max"], color=colour, alpha=0.15, linewidth=0
        )


def _over_seeds(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean, min and max over seeds by step; empty where the column is missing or all null."""
    if column not in history:
        return pd.DataFrame({"mean": [], "min": [], "max": []}, dtype="float64")
    values = history[["step", column]].dropna()
    by_step = values.astype({column: "float64"}).groupby("step")[column]
    return by_step.agg(["mean", "min", "max"])


def _mark_checkpoints(axes: Axes, metrics: Mapping[str, Any]) -> None:
    marks = {
        "selected": ("D", UNBIASED, "selected on valid, by seed"),
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
                edgecolor=UNBIASED,
                linewidth=0.9,
                zorder=4,
                label=label,
            )


def _seeds_title(history: pd.DataFrame) -> str:
    seeds = history["seed"].nunique()
    if seeds <= 1:
        return "One seed"
    return f"Line: mean of {seeds} seeds. Band: lowest to highest seed."


def _finish_accuracy_axes(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylabel("accuracy")
    _finish_step_axis(axes)


def _finish_step_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("step")


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
        _draw_curve(axes, history, term, name, colour, line)
    # Terms differ by orders of magnitude; a logarithmic axis can't show a loss of nought.
    if bool((history[terms].min() > 0).all()):
        _use_logarithmic_scale(axes)
    axes.set_ylabel("loss")
    axes.set_title(_seeds_title(history))
    _finish_step_axis(axes)
    figure.legend(loc="outside lower center", ncols=min(5, len(terms)))
    return figure


def _group_heat_map(
    group_accuracy: pd.DataFrame, manifest: pd.DataFrame, data_card: Mapping[str, Any]
) -> Figure | None:
    grid = _accuracy_grid(group_accuracy)
    if grid is None:
        return None
    figure = new_figure(min(6.2, 1.7 + 0.42 * len(grid)))
    axes = figure.add_subplot()
    _draw_heat_map(axes, grid, manifest, data_card, font_size=8, room=60)
    _add_colour_bar(figure, [axes])
    return figure


def _accuracy_grid(group_accuracy: pd.DataFrame) -> pd.DataFrame | None:
    """Accuracy of the last checkpoint, mean over seeds: rows by label, columns by bias."""
    if group_accuracy.empty:
        return None
    last = group_accuracy[group_accuracy["checkpoint"] == "last"]
    if last.empty:
        return None
    last = last.astype({"accuracy": "float64"})
    return last.pivot_table(
        index="label", columns="bias", values="accuracy", aggfunc="mean", dropna=False
    )


def _draw_heat_map(
    axes: Axes,
    grid: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: Mapping[str, Any],
    font_size: float,
    room: int,
) -> None:
    """Draw accuracies; `room` is how many characters fit along the lower edge."""
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


def _add_colour_bar(figure: Figure, axes: Sequence[Axes]) -> None:
    bar = figure.colorbar(axes[0].images[0], ax=list(axes), fraction=0.05, pad=0.02)
    bar.set_label("accuracy in the group")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


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
    columns = (("test_accuracy", "Unbiased"), ("test_conflicting_accuracy", "Bias-conflicting"))
    for axes, (column, title) in zip(panels, columns, strict=True):
        empty = True
        for position, of_method in enumerate(metrics):
            method, history = of_method["method"], histories[of_method["method"]]
            line = ("-", "--", "-.", ":")[position % 4]
            name = shortened(method, 30)
            _draw_curve(axes, history, column, name, _method_look(position)[0], line)
            empty = empty and _over_seeds(history, column).empty
        _finish_accuracy_axes(axes)
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
    names = [METRIC_BY_KEY[key].name for key in _COMPARED]
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
    grids = {m["method"]: _accuracy_grid(group_accuracies[m["method"]]) for m in metrics}
    present = {method: grid for method, grid in grids.items() if grid is not None}
    if not present:
        return None
    across = min(2, len(present))
    down = -(-len(present) // across)
    figure = new_figure(3.6 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (method, grid) in zip(panels, present.items(), strict=False):
        _draw_heat_map(axes, grid, manifest, data_card, font_size=6.5, room=35)
        axes.set_title(shortened(method, 30))
    for axes in panels[len(present) :]:
        axes.set_axis_off()
    _add_colour_bar(figure, list(panels))
    return figure
