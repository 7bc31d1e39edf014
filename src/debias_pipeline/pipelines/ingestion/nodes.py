"""Raw data → images, manifest, data card."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.hashes import content_hash
from debias_pipeline.reporting import draw_contact_sheet


def build_data(
    dataset: str, percent: str, raw_dir: str, data_seed: int, data_options: dict[str, Any]
) -> tuple[npt.NDArray[np.uint8], pd.DataFrame, dict[str, Any], dict[str, str]]:
    """Make or read a biased data set.

    Returns:
        images, manifest, data_card as in `biased_data.BiasedData`, and data_figures: name → SVG.
        The data card has `raw_hash` and `content_hash` in addition (see `biased_data.hashes`).
    """
    biased = get_dataset(dataset)
    options = biased.options_type.model_validate(data_options)
    # Before reading, so that what changes meanwhile is noticed later.
    raw_hash = biased.raw_hash(percent, Path(raw_dir), options)
    data = biased.build(percent, Path(raw_dir), data_seed, options)
    card = {
        **data.data_card,
        # Files that were not there before have been downloaded.
        "raw_hash": raw_hash or biased.raw_hash(percent, Path(raw_dir), options),
        "content_hash": content_hash(data.images, data.manifest, data.data_card["label_names"]),
    }
    sheet = data.contact_sheet
    figures = (
        {"contact_sheet": draw_contact_sheet(sheet.pixels, sheet.rows, sheet.columns)}
        if sheet
        else {}
    )
    return data.images, data.manifest, card, figures
