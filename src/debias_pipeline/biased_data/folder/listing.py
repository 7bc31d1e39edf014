"""List the images of a user's own folder, from a table in it or from its class folders."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from debias_pipeline.biased_data.sources.raw_dir import FileNotes

if TYPE_CHECKING:
    import pandas as pd

# In lower case; look up names with `splits_of`.
_SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
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
        attributes: further bias attributes, each N texts as `bias`, by name.
        others: files that are not among these images; names as in `source`.
        notes: what to tell about how the table was read.
    """

    where: Path
    is_table: bool
    rows: Sequence[str]
    path: Sequence[Path]
    source: Sequence[str]
    label: Sequence[str]
    bias: Sequence[str]
    split: Sequence[str]
    extra: "pd.DataFrame | None"
    problems: Sequence[str]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    others: FileNotes = field(default_factory=FileNotes)
    notes: Sequence[str] = ()


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Return the split that each name stands for: names of folders, or values of a table.

    A name of a split is read in any case. A name that contains exactly one such word (my_train,
    02_TEST, trainImages) is read if all such names have the same other words and no other name
    stands for the same split.

    Returns:
        Name → "train", "valid", "test", or "" if it is none of them or unclear.
    """
    found = {name: _SPLIT_NAMES.get(name.strip().lower(), "") for name in names}
    longer: dict[str, tuple[str, list[str]]] = {}
    for name in (name for name, split in found.items() if not split):
        words = _words(name)
        splits = [_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES]
        if len(splits) == 1:
            longer[name] = splits[0], [word for word in words if word not in _SPLIT_NAMES]
    read = {**found, **{name: split for name, (split, _) in longer.items()}}
    clear = all(others == next(iter(longer.values()))[1] for _, others in longer.values())
    taken = {(name.lower(), split) for name, split in read.items() if split}
    if clear and all(
        [own for own, split in taken if split == of] == [name.lower()]
        for name, (of, _) in longer.items()
    ):
        return read
    return found


def mentions_split(name: str) -> bool:
    """Return whether a name contains the name of a split, as in seg_train or val2017."""
    return any(word in _SPLIT_NAMES for word in _words(name))


def names_split(name: str) -> bool:
    """Return whether a name is that of a split, without other words."""
    return name.strip().lower() in _SPLIT_NAMES


def _words(name: str) -> list[str]:
    """Split a name such as 02_trainImages into words in lower case, without digits."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+", name)]
