"""What is known about each image (the manifest) and about the whole set (the data card)."""

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa
from pandera.typing.pandas import Series

from debias_pipeline.biased_data.base import BiasedDataset

Split = Literal["train", "valid", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "valid", "test")
UNKNOWN_BIAS: Final = -1

# An association of label and bias up to this counts as independence; a test split in which chance
# alone would reach the second value is too small to tell.
_NEGLIGIBLE_ASSOCIATION: Final = 0.1
_MOST_CHANCE_ASSOCIATION: Final = 0.15

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


class Manifest(pa.DataFrameModel):
    """One row per image, row i describes images[i].

    Named as `validator` in the catalog, Kedro validates with it on save and on load. Types are
    checked and never coerced, since a silent cast is how a wrong file passes for a right one.

    Attributes:
        image_id: int64, the row number.
        split: "train", "valid" or "test".
        label: int16, 0 or more.
        bias: int16, 0 or more, or -1 where unknown.
        conflicting: nullable boolean, whether the bias goes against the label; null where unknown.
        source: where the image came from; relative, and never leading upwards.

    A set may carry further columns along, such as those of a user's own table.
    """

    image_id: Series[np.int64] = pa.Field(unique=True)
    split: Series[str] = pa.Field(isin=SPLITS)
    label: Series[np.int16] = pa.Field(ge=0)
    bias: Series[np.int16] = pa.Field(ge=UNKNOWN_BIAS)
    conflicting: Series[pd.BooleanDtype] = pa.Field(nullable=True)
    source: Series[str]

    class Config:
        """No column less, none cast; further ones pass."""

        strict = False
        coerce = False

    @pa.check("image_id", name="equals_row_number")
    @classmethod
    def _equals_row_number(cls, image_id: "pd.Series[int]") -> "pd.Series[bool]":
        return image_id == np.arange(len(image_id))

    @pa.check("source", name="relative_path")
    @classmethod
    def _relative_path(cls, source: "pd.Series[str]") -> "pd.Series[bool]":
        return source.map(_is_relative).astype(bool)


def make_manifest(
    *,
    split: Sequence[str] | npt.NDArray[Any],
    label: Sequence[int] | npt.NDArray[Any],
    bias: Sequence[int] | npt.NDArray[Any] | None,
    conflicting: Sequence[bool | None] | npt.NDArray[Any] | None,
    source: Sequence[str],
    extra: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Put a manifest together from one value per image.

    Args:
        split: "train", "valid" or "test".
        label: 0 or more, castable to int16.
        bias: likewise, -1 where unknown; None if unknown throughout.
        conflicting: whether the bias goes against the label, None where unknown; None if unknown
            throughout.
        source: where the image came from, relative.
        extra: further columns to carry along, a row per image; one that bears the name of a
            manifest column is called `table_<name>`.

    Returns:
        A frame that satisfies `Manifest`.

    Raises:
        pandera.errors.SchemaErrors: if it would not.
    """
    n = len(label)
    bias = np.full(n, UNKNOWN_BIAS) if bias is None else bias
    known = [None] * n if conflicting is None else conflicting
    frame = pd.DataFrame(
        {
            "image_id": np.arange(n, dtype=np.int64),
            "split": pd.Series(split, dtype="str"),
            "label": np.asarray(label).astype(np.int16, casting="same_kind"),
            "bias": np.asarray(bias).astype(np.int16, casting="same_kind"),
            "conflicting": pd.array(known, dtype="boolean"),
            "source": pd.Series(source, dtype="str"),
        }
    )
    if extra is not None:
        for name in extra.columns:
            frame[f"table_{name}" if name in frame else name] = extra[name].array
    return pd.DataFrame(Manifest.validate(frame, lazy=True))


def make_data_card(
    dataset: BiasedDataset,
    manifest: pd.DataFrame,
    *,
    percent: str,
    seed: int,
    image_shape: tuple[int, ...],
    origin: str,
    label_names: Sequence[str] | None = None,
    bias_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Sum up a set in plain JSON values.

    Args:
        dataset: the set; gives its name, headline metric and the names of its attributes.
        manifest: as `Manifest`.
        percent: as typed.
        seed: as given to `BiasedDataset.build`.
        image_shape: H, W, 3.
        origin: a sentence on where the images came from; no path of one machine.
        label_names: if they are known only once the data is read; else the set's own.
        bias_names: likewise.

    Returns:
        `splits` counts images and bias-conflicting ones per split. Where no flag of a split is
        known, its figures are null; the fraction is of the images whose flag is known.
        `test_split` says whether label and bias are independent there, see `check_test_split`.
    """
    return {
        "dataset": dataset.name,
        "percent": percent,
        "headline": dataset.headline,
        "label_name": dataset.label_name,
        "bias_name": dataset.bias_name,
        "label_names": list(dataset.label_names if label_names is None else label_names),
        "bias_names": list(dataset.bias_names if bias_names is None else bias_names),
        "image_shape": [int(side) for side in image_shape],
        "origin": origin,
        "seed": int(seed),
        "splits": {split: _summary(manifest, split) for split in SPLITS},
        "test_split": check_test_split(manifest),
    }


def check_test_split(manifest: pd.DataFrame) -> dict[str, Any]:
    """Check whether accuracy on the test split may be called unbiased accuracy.

    Args:
        manifest: as `Manifest`.

    Returns:
        `association`: Cramér's V of label and bias in the test split, corrected for its size
        (Bergsma, "A bias-correction for Cramér's V and Tschuprow's T", 2013): 0 if they are
        independent, 1 if one decides the other; null if a bias label is missing or the label or
        the bias has one value only. `unbiased`: whether they are independent; null where that
        is not known, also because the split has too few images.
    """
    test = manifest[manifest["split"] == "test"]
    counts = pd.crosstab(test["label"], test["bias"]).to_numpy(np.float64)
    if (test["bias"] == UNKNOWN_BIAS).any() or min(counts.shape) < 2:
        return {"unbiased": None, "association": None}
    images, dimensions = counts.sum(), min(counts.shape) - 1
    expected = np.outer(counts.sum(1), counts.sum(0)) / images
    chance = (counts.shape[0] - 1) * (counts.shape[1] - 1) / (images - 1)
    square = ((counts - expected) ** 2 / expected).sum() / images - chance
    association = float(np.sqrt(max(0.0, square) / dimensions))
    unbiased: bool | None = association <= _NEGLIGIBLE_ASSOCIATION
    if unbiased and chance / dimensions > _MOST_CHANCE_ASSOCIATION**2:
        unbiased = None
    return {"unbiased": unbiased, "association": association}


def _summary(manifest: pd.DataFrame, split: Split) -> dict[str, Any]:
    flags = manifest.loc[manifest["split"] == split, "conflicting"]
    known = flags.dropna()
    if known.empty:
        return {"images": len(flags), "conflicting": None, "conflicting_fraction": None}
    count = int(known.sum())
    return {
        "images": len(flags),
        "conflicting": count,
        "conflicting_fraction": count / len(known),
    }


def _is_relative(source: str) -> bool:
    if not source or _ABSOLUTE.match(source):
        return False
    return ".." not in re.split(r"[/\\]", source)
