"""The node of the ingestion pipeline: build a data set from raw data."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.hashes import content_hash
from debias_pipeline.pipelines.bad_files import WriteBadFiles, named_bad_files, write_bad_files
from debias_pipeline.records import DataCard
from debias_pipeline.reporting import draw_contact_sheet

logger = logging.getLogger(__name__)


def build_data(
    dataset: str,
    percent: str,
    raw_dir: str,
    data_seed: int,
    data_options: dict[str, Any],
    bad_files: WriteBadFiles,
) -> tuple[npt.NDArray[np.uint8], pd.DataFrame, DataCard, dict[str, str]]:
    """Build or read a biased data set.

    Args:
        bad_files: writes the table of files that cannot be used.

    Returns:
        images and manifest (see `BiasedData`), data_card, data_figures (name → SVG).

    Raises:
        UserError: if raw data is missing or cannot be used.
    """
    biased = get_dataset(dataset)
    options = biased.options_type.model_validate(data_options)
    # Hash before reading, so that files that change meanwhile are detected later.
    raw_hash = biased.raw_hash(percent, Path(raw_dir), options)
    with named_bad_files(bad_files):
        data = biased.build(percent, Path(raw_dir), data_seed, options)
    table = write_bad_files(bad_files, list(data.bad_files.items()))
    if data.bad_files:
        logger.warning(
            "Skipped %s files that cannot be used; %s names them",
            f"{len(data.bad_files):,}",
            table,
        )
    card: DataCard = {
        **data.data_card,
        "title": biased.title(percent, Path(raw_dir)),
        # Without a hash there were no raw files; `build` has downloaded them.
        "raw_hash": raw_hash or biased.raw_hash(percent, Path(raw_dir), options),
        "content_hash": content_hash(data.images, data.manifest, data.data_card["label_names"]),
    }
    figures = {}
    if sheet := data.contact_sheet:
        figures["contact_sheet"] = draw_contact_sheet(sheet.pixels, sheet.rows, sheet.columns)
    return data.images, data.manifest, card, figures
