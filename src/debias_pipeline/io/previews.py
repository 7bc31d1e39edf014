"""Make previews of datasets for Kedro-Viz.

Kedro-Viz calls `preview` with the `preview_args` of the catalog, and draws the result by the return
type, one of kedro-datasets. It has no place for the description of a dataset in the catalog, so the
previews that can hold a sentence contain it.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

# Kedro-Viz selects how to show a preview by these types, and kedro-datasets exports them nowhere
# else. As the module is private, only this file imports it, and the major version is pinned.
from kedro_datasets._typing import (
    HTMLPreview,
    ImagePreview,
    JSONPreview,
    PlotlyPreview,
    TablePreview,
)

__all__ = [
    "DescribedMixin",
    "HTMLPreview",
    "ImagePreview",
    "JSONPreview",
    "PlotlyPreview",
    "TablePreview",
    "contact_sheet",
    "json_preview",
    "line_chart",
    "svg_preview",
    "table_of_metrics",
]

# Of a contact sheet: images across and down, and the least width of an image in pixels. Larger
# images are shown with less than twice this width.
_ACROSS: Final = 8
_DOWN: Final = 5
_WIDTH: Final = 64


class DescribedMixin:
    """Make Kedro-Viz show the description of a dataset whose content cannot be shown."""

    metadata: dict[str, Any] | None

    def preview(self) -> HTMLPreview:
        """Return the description in the catalog as a paragraph."""
        return HTMLPreview(f"<p>{html.escape(_description(self.metadata))}</p>")


def json_preview(content: Mapping[str, Any], metadata: Mapping[str, Any] | None) -> JSONPreview:
    """Return the content of a dataset, after its description in the catalog.

    Args:
        content: what is shown; if it has a key `description`, this is shown instead.
        metadata: metadata of the dataset in the catalog.
    """
    description = _description(metadata)
    described = {"description": description} if description else {}
    return JSONPreview(json.dumps({**described, **content}))


def contact_sheet(images: npt.NDArray[np.uint8]) -> ImagePreview:
    """Return a grid of images that are spread evenly over all of them, as a PNG in base64.

    Args:
        images: uint8, N × H × W × 3; a memory map, of which only the shown images are read.
    """
    from PIL import Image

    rows = np.unique(np.linspace(0, len(images) - 1, _ACROSS * _DOWN).astype(int))
    width = images.shape[2]
    step, scale = max(1, width // _WIDTH), -(-_WIDTH // width)
    shown = images[rows, ::step, ::step].repeat(scale, axis=1).repeat(scale, axis=2)
    _, height, width, _ = shown.shape
    sheet = np.zeros((-(-len(rows) // _ACROSS) * height, _ACROSS * width, 3), np.uint8)
    for position, image in enumerate(shown):
        down, across = divmod(position, _ACROSS)
        sheet[down * height : (down + 1) * height, across * width : (across + 1) * width] = image
    stream = BytesIO()
    Image.fromarray(sheet).save(stream, "PNG")
    return _as_image_preview(stream.getvalue())


def svg_preview(svg: str) -> ImagePreview:
    """Return an SVG as a PNG in base64, the only kind of image that Kedro-Viz shows."""
    # Slow to import.
    import vl_convert

    return _as_image_preview(vl_convert.svg_to_png(svg))


def table_of_metrics(metrics: Mapping[str, Any], columns: Sequence[str]) -> TablePreview:
    """Return a table of mean ± standard deviation over seeds: a row per selection rule.

    Args:
        metrics: see `records.Metrics`.
        columns: metrics to show; `step` is a number, the others are fractions, shown in per cent.
    """
    scales = {name: 1 if name == "step" else 100 for name in columns}
    rows = [
        [rule, *(_format_metric(of_rule.get(name), scale) for name, scale in scales.items())]
        for rule, of_rule in metrics["checkpoints"].items()
        if of_rule
    ]
    heads = [name if name == "step" else f"{name} (%)" for name in columns]
    return TablePreview({"index": [*range(len(rows))], "columns": ["rule", *heads], "data": rows})


def line_chart(
    frame: pd.DataFrame, x: str, lines: Sequence[str], title: str = "", y_range: Any = None
) -> PlotlyPreview:
    """Return a chart of some columns, averaged over the rows with the same x.

    Args:
        frame: the table.
        x: the column of the horizontal axis.
        lines: numeric columns; those that the table does not have are left out.
        title: title of the chart.
        y_range: lower and upper end of the vertical axis.
    """
    means = frame.groupby(x)[[name for name in lines if name in frame]].mean()
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": means.index.tolist(),
            # JSON has no NaN.
            "y": [None if np.isnan(value) else value for value in means[name]],
        }
        for name in means
    ]
    layout = {
        "title": {"text": title, "font": {"size": 13}},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"range": y_range},
        "legend": {"orientation": "h", "y": -0.3},
    }
    return PlotlyPreview({"data": traces, "layout": layout})


def _description(metadata: Mapping[str, Any] | None) -> str:
    return str((metadata or {}).get("description", ""))


def _format_metric(metric: Mapping[str, Any] | None, scale: float) -> str:
    if metric is None or metric["mean"] is None:
        return "–"
    digits = 0 if scale == 1 else 1
    spread = (
        ""
        if metric["std"] is None
        else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{scale * metric['std']:.{digits}f}"
    )
    return f"{scale * metric['mean']:.{digits}f}{spread}"


def _as_image_preview(png: bytes) -> ImagePreview:
    return ImagePreview(base64.b64encode(png).decode())
