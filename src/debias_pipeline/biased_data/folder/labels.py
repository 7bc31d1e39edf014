"""Turn the labels and bias values of a user's own images into numbers."""

import logging
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.attributes import UNKNOWN_BIAS
from debias_pipeline.biased_data.folder.listing import Listing

logger = logging.getLogger(__name__)

# Python converts at most 4,300 digits to int.
_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,4000}(\.0*)?")
# A column of whole numbers with missing values is often saved as 0.0, 1.0.
_FLOAT: Final = re.compile(r"^(-?(?:0|[1-9][0-9]*))\.0$")
# The manifest stores int16.
_MAX_LABELS: Final = int(np.iinfo(np.int16).max) + 1

Numbers = npt.NDArray[np.int16]


def number_values(listing: Listing, what: str, problems: list[str]) -> tuple[Numbers, list[str]]:
    """Number the distinct labels or values of a bias attribute in sorted order.

    01 and 1 are different names. Only in a table, where programs write whole numbers as floats,
    1.0 is the same as 1. Letters that are composed in one name and decomposed in another
    (Unicode's NFC and NFD) are the same.

    Args:
        what: label, bias, or bias_<name> for one of `listing.attributes`.
        problems: messages are appended.

    Returns:
        int16, N, -1 if missing; and the name of each number.
    """
    columns = {f"bias_{name}": texts for name, texts in listing.attributes.items()}
    written = {"label": listing.label, "bias": listing.bias, **columns}[what]
    texts = [unicodedata.normalize("NFC", text) for text in written]
    if listing.is_table:
        texts = [_FLOAT.sub(r"\1", text) for text in texts]
        if what != "label":
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
    """Return the bias value that goes with each label in the training split.

    It is the value whose share among the label's images exceeds its share among all images by the
    largest amount. The most frequent value would be the same for every label if most images have
    it. Of several such values it is the most frequent one among the label's images, then the first.
    If there are fewer values than labels, some labels have the same one.

    Args:
        label: N.
        bias: N, -1 if unknown; such images are not counted.
        split: N, "train", "valid" or "test".
        labels: number of labels.

    Returns:
        A value per label, None if no training image of the label has a known bias.
    """
    known = (split == "train") & (bias != UNKNOWN_BIAS)
    counts = np.zeros((labels, int(bias.max(initial=0)) + 1), np.int64)
    np.add.at(counts, (label[known], bias[known]), 1)
    of_label, of_bias = counts.sum(1, keepdims=True), counts.sum(0)
    # The difference of shares, times the numbers of images, so that equal ones are equal.
    excess = counts * counts.sum() - of_label * of_bias
    return [
        int(np.lexsort((-own, -more))[0]) if own.any() else None
        for own, more in zip(counts, excess, strict=True)
    ]


def _sorted(names: set[str]) -> list[str]:
    """Sort whole numbers by value, anything else by name."""
    if all(_WHOLE_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (int(name.partition(".")[0]), name))
    return sorted(names)


def _without_unknown(texts: list[str], where: Path) -> list[str]:
    """Replace a bias of -1 by "" if it stands for unknown, and warn unless the values are -1 and 1.

    -1 is a value if there is exactly one other value, a whole number, or if other values are
    negative.
    """
    unknown = str(UNKNOWN_BIAS)
    others = set(texts) - {"", unknown}
    count = texts.count(unknown)
    if not count or others == {"1"}:
        return texts
    whole = all(_WHOLE_NUMBER.fullmatch(text) for text in others)
    is_value = whole and (len(others) == 1 or any(text.startswith("-") for text in others))
    if is_value:
        how = "a value; leave it empty if it stands for unknown"
    else:
        how = "unknown; leave it empty, or give it a name if it is a value"
    logger.warning(
        "%s: %s rows have the bias -1, which is treated as %s (other values: %s)",
        where,
        f"{count:,}",
        how,
        f"{len(others):,}",
    )
    return texts if is_value else ["" if text == unknown else text for text in texts]


def _mixed(rows: Sequence[str], texts: Sequence[str], what: str) -> list[str]:
    """Return a message for each value of the rarer kind if numbers and names are mixed.

    Empty values are ignored. If both kinds are equally frequent, the names are reported.
    """
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
