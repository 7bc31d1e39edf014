"""The columns of a manifest, as Kedro validates them."""

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing.pandas import Series

from debias_pipeline.biased_data.manifest import UNKNOWN_BIAS, is_relative
from debias_pipeline.names import SPLITS


class Manifest(pa.DataFrameModel):
    """One row per image, row i describes images[i].

    It is the `validator` of the catalog entry, so Kedro validates on save and load. Types are
    checked, not coerced, so that a wrong file is not accepted after a silent cast.

    Attributes:
        image_id: int64, the row number.
        split: "train", "valid" or "test".
        label: int16, 0 or more.
        bias: int16, 0 or more, or -1 if unknown.
        conflicting: nullable boolean, whether the image is bias-conflicting; null if unknown.
        source: where the image comes from; a relative path without "..".

    A data set with several bias attributes, which its data card names, has two more columns for
    each: `bias_<name>` and `conflicting_<name>`, like `bias` and `conflicting`, which are those of
    the attribute, or the combination, that is treated as the bias.

    Additional columns are allowed, such as those of a user's own table.
    """

    image_id: Series[np.int64] = pa.Field(unique=True)
    split: Series[str] = pa.Field(isin=SPLITS)
    label: Series[np.int16] = pa.Field(ge=0)
    bias: Series[np.int16] = pa.Field(ge=UNKNOWN_BIAS)
    conflicting: Series[pd.BooleanDtype] = pa.Field(nullable=True)
    source: Series[str]

    class Config:
        """Allow additional columns; do not cast."""

        strict = False
        coerce = False

    @pa.check("image_id", name="equals_row_number")
    @classmethod
    def _equals_row_number(cls, image_id: "pd.Series[int]") -> "pd.Series[bool]":
        return image_id == np.arange(len(image_id))

    @pa.check("source", name="relative_path")
    @classmethod
    def _relative_path(cls, source: "pd.Series[str]") -> "pd.Series[bool]":
        return source.map(is_relative).astype(bool)
