"""A picture of how a data set was made."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from debias_pipeline.reporting.style import WIDTH, bare_axes, drawing_style, new_figure, to_svg


def draw_contact_sheet(
    pixels: npt.NDArray[np.uint8], rows: Sequence[str], columns: Sequence[str]
) -> str:
    """Draw cells with names beside the rows and above the columns.

    Args:
        pixels: uint8, H × W × 3; cells of one size in rows and columns.
        rows: a name for each row.
        columns: a name for each column.

    Returns:
        SVG text.
    """
    height, width = pixels.shape[:2]
    with drawing_style():
        figure = new_figure(WIDTH * height / width)
        axes = figure.add_subplot()
        axes.imshow(pixels, interpolation="nearest")
        bare_axes(axes)
        cell_height, cell_width = height / len(rows), width / len(columns)
        for place, name in enumerate(rows):
            middle = (place + 0.5) * cell_height
            axes.text(-4, middle, name, ha="right", va="center", fontsize=8)
        for place, name in enumerate(columns):
            middle = (place + 0.5) * cell_width
            axes.text(middle, -4, name, ha="left", va="bottom", fontsize=7, rotation=40)
        return to_svg(figure, "contact_sheet")
