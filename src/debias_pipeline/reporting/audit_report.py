"""The HTML report of an audit: the verdict, its evidence, and the images behind it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from debias_pipeline.records import DataCard
from debias_pipeline.reporting.index_page import AUDIT
from debias_pipeline.reporting.pages import render

# Images per label, and labels, that the page shows.
_MOST_IMAGES: Final = 8
_MOST_LABELS: Final = 20
# Longer sides are shrunk to this many pixels.
_LONGEST_SIDE: Final = 128


@dataclass(frozen=True)
class _Tile:
    """An image of the gallery, and the texts below it.

    Attributes:
        source: `data:` address of the image.
        file: name of the image file.
        weight: weight of the image in DisEnt.
        predictions: labels that the debiased branch and the bias branch predict.
    """

    source: str
    file: str
    weight: str
    predictions: str


def write_audit_report(
    sentence: str,
    evidence: Sequence[str],
    suspects: pd.DataFrame,
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    facts: Mapping[str, str],
) -> str:
    """Return an HTML page that loads no other files.

    Args:
        sentence: the verdict.
        evidence: one sentence each.
        suspects: a row per image, the most suspicious first.
        images: uint8, N × H × W × 3.
        manifest: row i describes images[i].
        data_card: facts about the data set.
        facts: further facts about the audit, by name.
    """
    row_of = {source: row for row, source in enumerate(manifest["source"])}
    labels = [name for name in data_card["label_names"] if (suspects["label"] == name).any()]

    def tiles(part: pd.DataFrame) -> list[_Tile]:
        return [_tile(row, images[row_of[row.file]]) for row in part.itertuples()]

    galleries = []
    for name in labels[:_MOST_LABELS]:
        of_label = suspects[suspects["label"] == name]
        most = of_label.head(_MOST_IMAGES)
        least = of_label.iloc[len(most) :].tail(_MOST_IMAGES)[::-1]
        galleries.append((name, tiles(most), tiles(least)))
    title = data_card.get("title") or data_card["dataset"]
    return render(
        "audit_report.html.jinja",
        about={
            "name": AUDIT,
            "title": title,
            "steps": facts.get("steps", ""),
            "result": sentence,
        },
        title=title,
        sentence=sentence,
        evidence=evidence,
        galleries=galleries,
        left_out=len(labels) - len(labels[:_MOST_LABELS]),
        facts={**facts, "images": f"{len(manifest):,}", "origin": data_card["origin"]},
    )


def _tile(row: Any, pixels: npt.NDArray[np.uint8]) -> _Tile:
    image = Image.fromarray(np.asarray(pixels))
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _Tile(
        source=f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        file=row.file,
        weight=f"{row.weight:.2f}",
        predictions=f"{row.prediction}; by the bias branch {row.bias_prediction}",
    )
