"""The node of the ingestion pipeline: build a data set from raw data."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from kedro.io import DatasetError

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.hashes import content_hashes
from debias_pipeline.biased_data.sources.raw_dir import SHOWN_PROBLEMS, ProblemsError
from debias_pipeline.errors import UserError, one_line
from debias_pipeline.files import WriteBadFiles
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
        images (see `BiasedData`), manifest, data_card, data_figures (name → SVG).

    Raises:
        UserError: if raw data is missing or cannot be used.
    """
    biased = get_dataset(dataset)
    options = biased.options_type.model_validate(data_options)
    # Hash before reading, so that files that change meanwhile are detected later.
    raw_hash = biased.raw_hash(percent, Path(raw_dir), options)
    try:
        data = biased.build(percent, Path(raw_dir), data_seed, options)
    except ProblemsError as error:
        # Of published sets there is a table only if the message does not show all problems.
        is_needed = any(file for file, _ in error.listed) or len(error.listed) > SHOWN_PROBLEMS
        table = _write_table(bad_files, error.listed) if is_needed else ""
        shown = f" The full list is in {table}." if table else ""
        raise UserError(f"{error}{shown}") from error
    table = _write_table(bad_files, list(data.bad_files.items()))
    if data.bad_files:
        logger.warning("The list of files that cannot be used is in %s", table)
    hashes = content_hashes(data.images, data.manifest, data.data_card["label_names"])
    card: DataCard = {
        **data.data_card,
        "title": biased.title(percent, Path(raw_dir)),
        # Without a hash there were no raw files; `build` has downloaded them.
        "raw_hash": raw_hash or biased.raw_hash(percent, Path(raw_dir), options),
        "content_hash": hashes.content,
        "images_hash": hashes.images,
    }
    figures = {}
    if sheet := data.contact_sheet:
        figures["contact_sheet"] = draw_contact_sheet(sheet.pixels, sheet.rows, sheet.columns)
    return data.images, data.manifest, card, figures


def _write_table(write: WriteBadFiles, listed: Sequence[tuple[str, str]]) -> str:
    """Write the table and return its path, or log a warning and return "" if that fails."""
    try:
        return write(listed)
    except (OSError, DatasetError) as error:
        logger.warning("The table of bad files cannot be written: %s", one_line(error))
        return ""
