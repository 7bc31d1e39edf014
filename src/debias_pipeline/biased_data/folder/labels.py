"""Turn the labels and bias values of a user's own images into numbers."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.folder.listing import Listing
from debias_pipeline.biased_data.manifest import UNKNOWN_BIAS

logger = logging.getLogger(__name__)

# Python converts at most 4,300 digits to int.
_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,4000}(\.0*)?")
# A column of whole numbers with missing values is often saved as 0.0, 1.0.
_FLOAT: Final = re.compile(r"^(-?[0-9]+)\.0$")
# The manifest stores int16.
_MAX_LABELS: Final = int(np.iinfo(np.int16).max) + 1

Numbers = npt.NDArray[np.int16]


def number_values(
    listing: Listing, what: Literal["label", "bias"], problems: list[str]
) -> tuple[Numbers, list[str]]:
    """Number the distinct labels or bias values in sorted order.

    01 and 1 are different names. Only in a table, where programs write whole numbers as floats,
    1.0 is the same as 1.

    Args:
        problems: messages are appended.

    Returns:
        int16, N, -1 if missing; and the name of each number.
    """
    texts = list(listing.label if what == "label" else listing.bias)
    if listing.is_table:
        texts = [_FLOAT.sub(r"\1", text) for text in texts]
        if what == "bias":
            texts = _without_unknown(texts, listing.where)
        problems += _mixed(listing.rows, texts, what)
    names = _sorted({text for text in texts if text})
    if len(names) > _MAX_LABELS:
        problems.append(
            f"the {what} column: {len(names):,} different values, at most {_MAX_LABELS:,} are "
            f"supported"
        )
        names = names[:_MAX_LABELS]
    code = {name: number for number, name in enumerate(names)}
    return np.array([code.get(text, -1) for text in texts], np.int16), names


def aligned_bias(
    label: Numbers, bias: Numbers, split: npt.NDArray[np.str_], labels: int
) -> list[int | None]:
    """Return each label's most frequent bias value in the training split.

    Args:
        label: N.
        bias: N, -1 if unknown.
        split: N, "train", "valid" or "test".
        labels: number of labels.

    Returns:
        A value per label, None if no training image of the label has a known bias.
    """
    aligned: list[int | None] = []
    for value in range(labels):
        known = bias[(label == value) & (split == "train") & (bias != UNKNOWN_BIAS)]
        aligned.append(int(np.bincount(known).argmax()) if len(known) else None)
    return aligned


def conflicting_flags(
    label: Numbers, bias: Numbers, aligned: Sequence[int | None]
) -> list[bool | None]:
    """Return for each image whether it is bias-conflicting: its bias is not that of its label.

    Args:
        label: N.
        bias: N, -1 if unknown.
        aligned: see `aligned_bias`.

    Returns:
        N values, None where the bias or the aligned bias is unknown.
    """
    return [
        None if value == UNKNOWN_BIAS or aligned[own] is None else value != aligned[own]
        for own, value in zip(label.tolist(), bias.tolist(), strict=True)
    ]


def _sorted(names: set[str]) -> list[str]:
    """Sort whole numbers by value, anything else by name."""
    if all(_WHOLE_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (int(name.partition(".")[0]), name))
    return sorted(names)


def _without_unknown(texts: list[str], where: Path) -> list[str]:
    """Replace a bias of -1 by "", unless there is exactly one other number, as in -1 and 1."""
    unknown = str(UNKNOWN_BIAS)
    others = set(texts) - {"", unknown}
    count = texts.count(unknown)
    if not count or (len(others) == 1 and _WHOLE_NUMBER.fullmatch(next(iter(others)))):
        return texts
    logger.warning(
        "%s: %s rows have the bias -1, which is treated as unknown since there are %s other "
        "values; leave it empty, or give it a name if it is a value",
        where,
        f"{count:,}",
        f"{len(others):,}" if others else "no",
    )
    return ["" if text == unknown else text for text in texts]


def _mixed(rows: Sequence[str], texts: Sequence[str], what: str) -> list[str]:
    """Return a message for each number among names, or name among numbers."""
    are_whole = [bool(_WHOLE_NUMBER.fullmatch(text)) for text in texts if text]
    if all(are_whole) or not any(are_whole):
        return []
    mostly_whole = 2 * sum(are_whole) >= len(are_whole)
    problem = (
        "is not a whole number, but others are"
        if mostly_whole
        else "is a number, but others are names"
    )
    return [
        f"{row}: {what} {text!r} {problem}"
        for row, text in zip(rows, texts, strict=True)
        if text and bool(_WHOLE_NUMBER.fullmatch(text)) != mostly_whole
    ]
