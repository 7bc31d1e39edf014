"""Build and check the manifest (one row per image) and the data card (the whole data set)."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.attributes import UNKNOWN_BIAS, Attribute
from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, ContactSheet
from debias_pipeline.names import SPLITS, Split
from debias_pipeline.records import DataDescription, LabelBiasAssociation, SplitSummary

if TYPE_CHECKING:
    import pandas as pd

    from debias_pipeline.biased_data.manifest_schema import Manifest

__all__ = [
    "UNKNOWN_BIAS",
    "Manifest",
    "check_test_split",
    "is_relative",
    "make_data",
    "make_data_card",
    "make_manifest",
]

# Label and bias count as independent up to the first value. A test split in which independent
# label and bias would reach the second value by chance is too small for the check.
_NEGLIGIBLE_ASSOCIATION: Final = 0.1
_MAX_CHANCE_ASSOCIATION: Final = 0.15

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


def __getattr__(name: str) -> Any:
    """Import `Manifest` where it is used, as pandera takes long to import."""
    if name != "Manifest":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from debias_pipeline.biased_data.manifest_schema import Manifest

    return Manifest


def make_data(
    dataset: BiasedDataset,
    images: npt.NDArray[np.uint8],
    *,
    percent: str,
    seed: int,
    origin: str,
    split: Sequence[str] | npt.NDArray[Any],
    label: npt.NDArray[Any],
    bias: npt.NDArray[Any] | Attribute,
    conflicting: Sequence[bool | None] | npt.NDArray[Any] | None = None,
    source: Sequence[str],
    extra: "pd.DataFrame | None" = None,
    attributes: Sequence[Attribute] = (),
    label_names: Sequence[str] | None = None,
    contact_sheet: ContactSheet | None = None,
    bad_files: Mapping[str, str] | None = None,
) -> BiasedData:
    """Join images and one value per image to a data set, with its manifest and data card.

    Args:
        images: uint8, N × H × W × 3.
        percent, seed, origin, label_names: see `make_data_card`.
        split, label, source, extra: see `make_manifest`.
        bias: values, -1 where unknown; or an attribute, if its names depend on the data.
        conflicting: whether each image is bias-conflicting, None if unknown; not with an attribute,
            which says so.
        attributes: all bias attributes, if there are several.
        contact_sheet, bad_files: see `BiasedData`.

    Raises:
        ValueError: if `bias` is an attribute and `conflicting` is given.
        pandera.errors.SchemaErrors: if the manifest is not valid.
    """
    named = bias if isinstance(bias, Attribute) else None
    if isinstance(bias, Attribute):
        if conflicting is not None:
            raise ValueError("conflicting is given, but the attribute says which images conflict")
        conflicting, bias = bias.conflicting(label), bias.values
    manifest = make_manifest(
        split=split,
        label=label,
        bias=bias,
        conflicting=conflicting,
        source=source,
        extra=extra,
        attributes=attributes,
    )
    card = make_data_card(
        dataset,
        manifest,
        percent=percent,
        seed=seed,
        image_shape=images.shape[1:],
        origin=origin,
        label_names=label_names,
        bias_names=named.value_names if named else None,
        bias_name=named.name if named else None,
        attributes=attributes,
    )
    return BiasedData(images, manifest, card, contact_sheet, bad_files or {})


def make_manifest(
    *,
    split: Sequence[str] | npt.NDArray[Any],
    label: Sequence[int] | npt.NDArray[Any],
    bias: Sequence[int] | npt.NDArray[Any] | None,
    conflicting: Sequence[bool | None] | npt.NDArray[Any] | None,
    source: Sequence[str],
    extra: "pd.DataFrame | None" = None,
    attributes: Sequence[Attribute] = (),
) -> "pd.DataFrame":
    """Build a manifest from one value per image.

    Args:
        split: "train", "valid" or "test".
        label: 0 or more, castable to int16.
        bias: the same, -1 if unknown; None if unknown for all images.
        conflicting: whether the image is bias-conflicting, None if unknown; None if unknown for
            all images.
        source: where the image comes from, relative.
        extra: additional columns, a row per image; a column that has the name of a manifest
            column is renamed to `table_<name>`, with `table_` repeated if that exists too.
        attributes: all bias attributes, if there are several.

    Returns:
        A frame that is valid by `Manifest`.

    Raises:
        pandera.errors.SchemaErrors: if it is not valid.
    """
    import pandas as pd

    from debias_pipeline.biased_data.manifest_schema import Manifest

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
    for each in attributes:
        frame[f"bias_{each.name}"] = each.values
        flags = each.conflicting(frame["label"].to_numpy())
        frame[f"conflicting_{each.name}"] = pd.array(flags, dtype="boolean")
    if extra is not None:
        for name in extra.columns:
            free = name
            while free in frame or (free != name and free in extra):
                free = f"table_{free}"
            frame[free] = extra[name].array
    return pd.DataFrame(Manifest.validate(frame, lazy=True))


def make_data_card(
    dataset: BiasedDataset,
    manifest: "pd.DataFrame",
    *,
    percent: str,
    seed: int,
    image_shape: tuple[int, ...],
    origin: str,
    label_names: Sequence[str] | None = None,
    bias_names: Sequence[str] | None = None,
    bias_name: str | None = None,
    attributes: Sequence[Attribute] = (),
) -> DataDescription:
    """Return the facts about a data set, as plain JSON values.

    Args:
        manifest: as `Manifest`.
        image_shape: H, W, 3.
        origin: where the images come from, for people; without machine-specific paths.
        label_names: needed if they depend on the data; default: those of `dataset`.
        bias_names: needed if they depend on the data; default: those of `dataset`.
        bias_name: what the bias is; default: that of `dataset`.
        attributes: all bias attributes, if there are several.
    """
    card: DataDescription = {
        "dataset": dataset.name,
        "percent": percent,
        "headline": dataset.headline,
        "label_name": dataset.label_name,
        "bias_name": dataset.bias_name if bias_name is None else bias_name,
        "label_names": list(dataset.label_names if label_names is None else label_names),
        "bias_names": list(dataset.bias_names if bias_names is None else bias_names),
        "image_shape": [int(side) for side in image_shape],
        "origin": origin,
        "seed": int(seed),
        "splits": {split: _summary(manifest, split) for split in SPLITS},
        "test_split": check_test_split(manifest),
    }
    if attributes:
        card["attributes"] = {each.name: list(each.value_names) for each in attributes}
    return card


def check_test_split(manifest: "pd.DataFrame") -> LabelBiasAssociation:
    """Return whether accuracy on the test split may be called unbiased accuracy.

    Args:
        manifest: as `Manifest`.

    Returns:
        `association`: Cramér's V of label and bias in the test split, corrected for its size
        (Bergsma, "A bias-correction for Cramér's V and Tschuprow's T", 2013): 0 if they are
        independent, 1 if one determines the other; null if a bias label is missing, the label or
        the bias has only one value, or no value has two images. `unbiased`: whether they are
        independent; null if unknown, for example because the split has too few images.
    """
    import pandas as pd

    test = manifest[manifest["split"] == "test"]
    counts = pd.crosstab(test["label"], test["bias"]).to_numpy(np.float64)
    if (test["bias"] == UNKNOWN_BIAS).any() or min(counts.shape) < 2:
        return {"unbiased": None, "association": None}
    images, dimensions = counts.sum(), min(counts.shape) - 1
    corrected = min(size - 1 - (size - 1) ** 2 / (images - 1) for size in counts.shape)
    if corrected <= 0:
        return {"unbiased": None, "association": None}
    expected = np.outer(counts.sum(1), counts.sum(0)) / images
    chance = (counts.shape[0] - 1) * (counts.shape[1] - 1) / (images - 1)
    square = ((counts - expected) ** 2 / expected).sum() / images - chance
    association = float(np.sqrt(max(0.0, square) / corrected))
    unbiased: bool | None = association <= _NEGLIGIBLE_ASSOCIATION
    if unbiased and chance / dimensions > _MAX_CHANCE_ASSOCIATION**2:
        unbiased = None
    return {"unbiased": unbiased, "association": association}


def _summary(manifest: "pd.DataFrame", split: Split) -> SplitSummary:
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


def is_relative(source: str) -> bool:
    """Return whether a path is relative and without "..", on POSIX and on Windows."""
    if not source or _ABSOLUTE.match(source):
        return False
    # Only few names contain dots; to split 200,000 others would take 0.7 s at every load.
    return ".." not in source or ".." not in re.split(r"[/\\]", source)
