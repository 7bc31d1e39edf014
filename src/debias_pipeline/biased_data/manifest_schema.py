"""The columns of a manifest, as Kedro validates them."""

from typing import Final

import numpy as np
import pandas as pd
import pandera.pandas as pa

from debias_pipeline.biased_data.manifest import UNKNOWN_BIAS, is_relative
from debias_pipeline.names import SPLITS


def _equals_row_number(image_id: "pd.Series[int]") -> "pd.Series[bool]":
    return image_id == np.arange(len(image_id))


def _is_relative_path(source: "pd.Series[str]") -> "pd.Series[bool]":
    return source.map(is_relative).astype(bool)


# One row per image, row i describes images[i]. It is the `validator` of the catalog entry, so Kedro
# validates on save and load. Types are checked, not coerced, so that a wrong file is not accepted
# after a silent cast. Additional columns are allowed, such as those of a user's own table.
#
# A data set with several bias attributes, which its data card names, has two more columns for each:
# `bias_<name>` and `conflicting_<name>`, like `bias` and `conflicting`, which are those of the
# attribute, or the combination, that is treated as the bias.
#
# This is a DataFrameSchema, not a DataFrameModel, because pandera imports dask.dataframe for models
# if that is installed.
Manifest: Final = pa.DataFrameSchema(
    {
        "image_id": pa.Column(
            np.int64, pa.Check(_equals_row_number, name="equals_row_number"), unique=True
        ),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "label": pa.Column(np.int16, pa.Check.ge(0)),
        # -1 if unknown.
        "bias": pa.Column(np.int16, pa.Check.ge(UNKNOWN_BIAS)),
        # Null if unknown.
        "conflicting": pa.Column(pd.BooleanDtype, nullable=True),
        # Where the image comes from, without "..".
        "source": pa.Column(str, pa.Check(_is_relative_path, name="relative_path")),
    },
    name="Manifest",
)
