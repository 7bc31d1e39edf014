"""The images of a user's own folder as they are listed there, whatever lists them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

# Folders and tables spell splits in capitals as well: look them up with `split_of`.
_SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


def split_of(name: str) -> str:
    """Return the split that a folder or a table calls by this name; "" if it is none."""
    return _SPLIT_NAMES.get(name.strip().lower(), "")


def mentions_split(name: str) -> bool:
    """Whether a name contains the name of a split, as in seg_train or val2017."""
    return any(word in _SPLIT_NAMES for word in re.findall("[a-z]+", name.lower()))


@dataclass(frozen=True)
class Listing:
    """The images of a folder as they are listed there, before any is opened.

    Attributes:
        where: the table or folder that lists them.
        is_table: which of the two.
        rows: how each row is told to people.
        path: N, in `raw_dir`.
        source: N, relative to `raw_dir`.
        label: N texts as written; "" where there is none.
        bias: likewise.
        split: N of "train", "valid", "test"; "" where none is given.
        extra: the table's further columns, N rows.
        problems: what is wrong so far; each begins with its place.
        skipped: files that are not read, since they are no images by name or in no class folder.
    """

    where: Path
    is_table: bool
    rows: Sequence[str]
    path: Sequence[Path]
    source: Sequence[str]
    label: Sequence[str]
    bias: Sequence[str]
    split: Sequence[str]
    extra: pd.DataFrame | None
    problems: Sequence[str]
    skipped: Sequence[str] = ()
