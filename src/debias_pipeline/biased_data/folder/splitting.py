"""Draw splits that a data set does not have."""

from typing import Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.names import SPLITS, Split

# Fractions of all images, for a data set without splits.
SHARES: Final[dict[Split, float]] = {"train": 0.7, "valid": 0.1, "test": 0.2}


def make_missing_splits(
    split: npt.NDArray[np.str_],
    label: npt.NDArray[np.int16],
    bias: npt.NDArray[np.int16],
    rng: np.random.Generator,
) -> npt.NDArray[np.str_]:
    """Draw the splits that have no images from the training images.

    The proportions are 70/10/20, also if only one split is missing. Drawing is stratified: each
    (label, bias) group contributes its fraction to each split, to within about one image. Every
    label keeps at least one training image.

    Args:
        split: N, each of "train", "valid", "test".
        label: int16, N.
        bias: int16, N, -1 if unknown.

    Returns:
        N; images outside "train" keep their split.
    """
    made = split.copy()
    missing: list[Split] = [name for name in SPLITS[1:] if not (split == name).any()]
    rows = np.flatnonzero(split == "train")
    left = SHARES["train"] + sum(SHARES[name] for name in missing)
    for name in reversed(missing):
        share = SHARES[name] / left
        left -= SHARES[name]
        drawn = _draw_in_strata(rows, label, bias, share, rng)
        made[drawn] = name
        rows = np.setdiff1d(rows, drawn)
    _keep_each_label(made, split, label)
    return made


def _draw_in_strata(
    rows: npt.NDArray[np.intp],
    label: npt.NDArray[np.int16],
    bias: npt.NDArray[np.int16],
    share: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.intp]:
    # Sort by group, in random order within a group, and draw every (1 / share)-th row. So each
    # group, and all groups together, contribute their share, rounded up or down.
    rows = rng.permutation(rows)
    rows = rows[np.lexsort((bias[rows], label[rows]))]
    marks = np.floor(np.arange(len(rows) + 1) * share + rng.random())
    drawn: npt.NDArray[np.intp] = rows[np.diff(marks) > 0]
    return drawn


def _keep_each_label(
    made: npt.NDArray[np.str_], split: npt.NDArray[np.str_], label: npt.NDArray[np.int16]
) -> None:
    for value in np.setdiff1d(label[split == "train"], label[made == "train"]):
        first = np.flatnonzero((label == value) & (split == "train"))[0]
        made[first] = "train"
