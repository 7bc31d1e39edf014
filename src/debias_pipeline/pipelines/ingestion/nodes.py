"""Raw data → images, manifest, data card."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.biased_data import get_dataset


def build_data(
    dataset: str, percent: str, raw_dir: str, data_seed: int, data_options: dict[str, Any]
) -> tuple[npt.NDArray[np.uint8], pd.DataFrame, dict[str, Any]]:
    """Make or read a biased data set; see `biased_data.base.BiasedData` for what comes back."""
    biased = get_dataset(dataset)
    options = biased.options_type.model_validate(data_options)
    data = biased.build(percent, Path(raw_dir), data_seed, options)
    return data.images, data.manifest, data.data_card
