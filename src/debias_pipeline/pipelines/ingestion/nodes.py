"""Raw data → images, manifest, data card."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.biased_data import get_dataset


def build_data(
    dataset: str, percent: str, raw_dir: str, data_seed: int
) -> tuple[npt.NDArray[np.uint8], pd.DataFrame, dict[str, Any]]:
    """Make or read a biased data set; see `biased_data.base.BiasedData` for what comes back."""
    data = get_dataset(dataset).build(percent, Path(raw_dir), data_seed)
    return data.images, data.manifest, data.data_card
