"""How every figure looks, and how it becomes SVG text that is the same every time."""

import hashlib
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# From the palette of Okabe and Ito, which stays apart under the common colour blindnesses.
OVERALL, ALIGNED, CONFLICTING = "#222222", "#0072b2", "#d55e00"
NEUTRAL = "#767676"
# Methods take none of the three colours above: a colour means one thing throughout a report.
METHOD_COLOURS = ("#b8860b", "#7b3fa0", "#009e73", "#cc79a7", "#56b4e9", "#8c564b")
METHOD_MARKERS = ("o", "s", "^", "D", "v", "P")

WIDTH = 7.6  # inches

_SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the glyphs are the same everywhere
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
    # Names come from data: a dollar sign in one is no formula.
    "text.parse_math": False,
}
# matplotlib's settings belong to the process: two threads must not draw at once.
_drawing = threading.RLock()


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw with the project's settings whatever the user's matplotlibrc says."""
    with _drawing, matplotlib.style.context(["default", _SETTINGS]):
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure without pyplot; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def bare_axes(axes: Axes) -> None:
    """Take spines, ticks and grid away."""
    axes.grid(False)
    axes.set_axis_off()


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element, byte for byte the same for the same drawing.

    Args:
        figure: what to write.
        name: unlike that of any figure on the same page; decides what the ids begin with.
    """
    stream = io.StringIO()
    FigureCanvasSVG(figure)  # Without a canvas of its own, savefig would ask for a screen's.
    with mpl.rc_context({"svg.hashsalt": "debias-pipeline"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # matplotlib repeats every text, names from data among them, in a comment.
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    return _with_ids_of_its_own(svg, name)


def _with_ids_of_its_own(svg: str, name: str) -> str:
    """Two figures drawn alike have ids in common, which clash where both stand on one page."""
    prefix = "f" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
