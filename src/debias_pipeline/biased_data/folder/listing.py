"""List the images of a user's own folder, from a table in it or from its class folders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from debias_pipeline.biased_data.sources.raw_dir import FileNotes

# In lower case; look up a name with `split_of`.
_SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Listing:
    """The images of a folder, before any of them is opened.

    Attributes:
        where: the table or folder that lists them.
        is_table: whether `where` is a table.
        rows: N, each image as named in messages.
        path: N files in `raw_dir`.
        source: N paths relative to `raw_dir`; "" for an invalid row.
        label: N texts as written; "" if missing.
        bias: N texts as written; "" if missing.
        split: N of "train", "valid", "test"; "" if not given.
        extra: additional columns of the table, N rows.
        problems: messages so far.
        others: files that are not among these images; names as in `source`.
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
    others: FileNotes = field(default_factory=FileNotes)


def split_of(name: str) -> str:
    """Return the split that the name of a folder or a value of a table stands for, or ""."""
    return _SPLIT_NAMES.get(name.strip().lower(), "")


def mentions_split(name: str) -> bool:
    """Return whether a name contains the name of a split, as in seg_train or val2017."""
    return any(word in _SPLIT_NAMES for word in re.findall("[a-z]+", name.lower()))
