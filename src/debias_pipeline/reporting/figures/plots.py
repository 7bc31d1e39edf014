"""What all plots share: style, SVG output, curves against the step, heat maps of groups."""

import hashlib
import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from debias_pipeline.records import DataCard
from debias_pipeline.reporting.text import DASH, Attribute, drawable_name, shortened

# Functions import matplotlib, so that training does not wait for it.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

# Near the palette of Okabe and Ito, which people with common colour blindnesses can tell apart, and
# dark enough for small text. templates/page.html.jinja has the same colours.
OVERALL: Final = "#222222"
ALIGNED: Final = "#0072b2"
CONFLICTING: Final = "#c24f00"
NEUTRAL: Final = "#767676"
# Methods have none of these colours: a colour has one meaning throughout a report.
METHOD_COLOURS: Final = ("#8f6400", "#7b3fa0", "#007a56", "#b0427a", "#1c6fa8", "#8c564b")
_METHOD_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
LINES: Final = ("-", "--", "-.", ":")

WIDTH: Final = 7.6  # inches

_SETTINGS: Final = {
    "font.family": "DejaVu Sans",  # part of matplotlib, so the same on every machine
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "svg.fonttype": "path",
    # Names come from data: a dollar sign in one does not start a formula.
    "text.parse_math": False,
}
# matplotlib's settings belong to the process: two threads must not draw at the same time.
_drawing = threading.RLock()

_LONGEST_NAME: Final = 30
_MOST_WRITTEN: Final = 12  # numbers do not fit into a heat map with more rows or columns

# --- Style and output -----------------------------------------------------------------------------


@contextmanager
def drawing_style() -> Iterator[None]:
    """Use the project's matplotlib settings and ignore the user's."""
    import matplotlib.style

    with _drawing, matplotlib.style.context(["default", _SETTINGS]):
        yield


def new_figure(height: float) -> "Figure":
    """Return a figure that pyplot does not know; the height is in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")


def bare_axes(axes: "Axes") -> None:
    """Remove spines, ticks and grid."""
    axes.grid(False)
    axes.set_axis_off()


def to_svg(figure: "Figure", name: str) -> str:
    """Return a figure as an `<svg>` element, byte for byte the same for the same figure.

    Args:
        figure: the figure.
        name: unique on a page; ids in the element depend on it.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "debias-pipeline"}):
        # `savefig` would draw a figure with constrained layout twice.
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(stream, metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # matplotlib repeats every text in a comment, also names from data.
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    # Similar figures have the same ids, which must be unique on a page.
    prefix = "f" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)


def by_kind(conflicting: pd.Series) -> list[tuple[str, str, pd.Series]]:
    """Return name, colour and rows (bool) of bias-aligned, bias-conflicting and other images.

    Args:
        conflicting: a flag per image, null if it is not known.
    """
    flags = conflicting.astype("boolean")
    return [
        ("bias-aligned", ALIGNED, flags.eq(False).fillna(False)),
        ("bias-conflicting", CONFLICTING, flags.eq(True).fillna(False)),
        ("not known to be aligned or conflicting", NEUTRAL, flags.isna()),
    ]


def weights_by_image(sample_weights: pd.DataFrame) -> pd.DataFrame:
    """Return the mean weight over seeds of each training image that has a weight.

    Args:
        sample_weights: a row per training image and seed; `weight` is null if there is none.

    Returns:
        `weight` and `conflicting` (boolean, missing if unknown), by `image_id`.
    """
    known = sample_weights[sample_weights["weight"].notna()]
    by_image = known.astype({"weight": "float64", "conflicting": "boolean"}).groupby("image_id")
    return by_image.agg({"weight": "mean", "conflicting": "first"})


# --- Curves ---------------------------------------------------------------------------------------


def draw_curve(
    axes: "Axes", history: pd.DataFrame, column: str, label: str, colour: str, line: str = "-"
) -> None:
    """Draw the mean over seeds, and with several seeds a band from the lowest to the highest.

    Args:
        axes: where to draw.
        history: a row per evaluation step and seed.
        column: column of the history to draw; nothing is drawn if it is missing or all null.
        label: text in the legend.
        colour: colour of the line and the band.
        line: line style of matplotlib.
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
    """Return mean, min and max by step, without rows if the column is missing or all null."""
    if column not in history:
        return pd.DataFrame({"mean": [], "min": [], "max": []}, dtype="float64")
    values = history[["step", column]].dropna()
    by_step = values.astype({column: "float64"}).groupby("step")[column]
    return by_step.agg(["mean", "min", "max"])


def legend_name(method: str) -> str:
    """Return the name of a method, shortened if it is too long for a legend."""
    return shortened(method, _LONGEST_NAME)


def method_look(position: int) -> tuple[str, str]:
    """Return the colour and the marker of a method by its position in the legend."""
    return (
        METHOD_COLOURS[position % len(METHOD_COLOURS)],
        _METHOD_MARKERS[position % len(_METHOD_MARKERS)],
    )


def percent_formatter() -> "PercentFormatter":
    """Return a formatter of fractions in 0..1 as "86 %"."""
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1, symbol=" %")


def format_accuracy_axis(axes: "Axes") -> None:
    """Format the y axis for accuracies in 0..1."""
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(percent_formatter())
    axes.set_ylabel("accuracy")


def format_step_axis(axes: "Axes") -> None:
    """Format the x axis for training steps."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.set_xlabel("step")


# --- Heat maps of accuracy by group ---------------------------------------------------------------


def groups_of_bias(group_accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the attribute that is treated as the bias.

    Args:
        group_accuracy: a row per selection rule, seed, label, bias and attribute.
    """
    # Tables of earlier versions lack the column. The bias comes first.
    if "attribute" in group_accuracy and not group_accuracy.empty:
        attribute = group_accuracy["attribute"]
        group_accuracy = group_accuracy[attribute == attribute.iloc[0]]
    return group_accuracy.astype({"accuracy": "float64"})


def accuracy_grid(group_accuracy: pd.DataFrame) -> pd.DataFrame | None:
    """Return accuracies of the last step, mean over seeds: rows by label, columns by bias.

    Args:
        group_accuracy: a row per selection rule, seed, label and bias; empty without bias labels.

    Returns:
        Fractions, NaN for a group without test images; None if there are no groups.
    """
    if group_accuracy.empty:
        return None
    groups = groups_of_bias(group_accuracy)
    last = groups[groups["checkpoint"] == "last"]
    if last.empty:
        return None
    return last.pivot_table(
        index="label", columns="bias", values="accuracy", aggfunc="mean", dropna=False
    )


@cache
def _greys() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    colours = ["#ffffff", "#9a9a9a", "#2b2b2b"]
    return LinearSegmentedColormap.from_list("accuracy", colours).with_extremes(bad="#fbe9c6")


def draw_heat_map(
    axes: "Axes",
    grid: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: DataCard,
    font_size: float,
    room: int,
) -> None:
    """Draw accuracies by group; bias-aligned groups have a blue outline.

    Args:
        axes: where to draw.
        grid: from `accuracy_grid`.
        manifest: manifest of the data set.
        data_card: data card of the data set.
        font_size: font size of names and numbers, in points.
        room: number of characters that fit along the lower edge.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    values = grid.to_numpy(dtype="float64")
    axes.imshow(values, cmap=_greys(), vmin=0, vmax=1, aspect="auto", interpolation="none")
    axes.grid(False)
    _name_ticks(axes, grid, data_card, font_size, room)
    if max(values.shape) <= _MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(values):
            text = DASH if np.isnan(value) else f"{100 * value:.0f}"
            colour = "white" if value > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=font_size)
    for row, column in _aligned_groups(grid, manifest):
        box = (column - 0.46, row - 0.46)
        outline = Rectangle(box, 0.92, 0.92, fill=False, edgecolor=ALIGNED, linewidth=1.8)
        # Blue on a dark group is hard to see without a light border.
        outline.set_path_effects([withStroke(linewidth=3.6, foreground="white")])
        axes.add_patch(outline)


def add_colour_bar(figure: "Figure", axes: Sequence["Axes"]) -> None:
    """Add a colour bar next to the axes; the first of them must contain a heat map."""
    bar = figure.colorbar(axes[0].images[0], ax=list(axes), fraction=0.05, pad=0.02)
    bar.set_label("accuracy in the group")
    bar.ax.yaxis.set_major_formatter(percent_formatter())


def _name_ticks(
    axes: "Axes", grid: pd.DataFrame, data_card: DataCard, font_size: float, room: int
) -> None:
    # In a large grid, only some rows and columns have names, which would overlap otherwise.
    stride = max(1, -(-max(grid.shape) // (room // 2)))
    label_ticks, bias_ticks = range(0, len(grid), stride), range(0, grid.shape[1], stride)
    labels = [drawable_name(data_card, "label", grid.index[tick], 16) for tick in label_ticks]
    biases = [drawable_name(data_card, "bias", int(grid.columns[tick]), 16) for tick in bias_ticks]
    axes.set_yticks(label_ticks, labels, fontsize=font_size)
    turned = max(map(len, biases)) > room / len(biases) - 2
    axes.set_xticks(bias_ticks, biases, fontsize=font_size, rotation=60 if turned else 0)
    axes.set_ylabel(_axis_name("label", data_card["label_name"]))
    axes.set_xlabel(_axis_name("bias", data_card["bias_name"]))


def _axis_name(attribute: Attribute, name: str) -> str:
    """Return "label: digit", or "label" if the label has no other name."""
    return attribute if name == attribute else shortened(f"{attribute}: {name}", 40)


def _aligned_groups(grid: pd.DataFrame, manifest: pd.DataFrame) -> list[tuple[int, int]]:
    """Return row and column of the bias-aligned groups."""
    (_, _, is_aligned), *_ = by_kind(manifest["conflicting"])
    aligned = manifest[is_aligned]
    pairs = set(zip(aligned["label"].tolist(), aligned["bias"].tolist(), strict=True))
    return [
        (row, column)
        for row, label in enumerate(grid.index)
        for column, bias in enumerate(grid.columns)
        if (label, bias) in pairs
    ]
