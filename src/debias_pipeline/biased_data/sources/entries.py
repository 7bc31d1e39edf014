"""Decode the images that a published data set lists, and describe them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.manifest import make_data
from debias_pipeline.biased_data.sources.decoding import Size, decode_images
from debias_pipeline.biased_data.sources.found_set import FoundSet
from debias_pipeline.biased_data.sources.raw_dir import problems_error
from debias_pipeline.names import SPLITS, Split


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a data set.

    Attributes:
        path: the file.
        source: path that starts with the name of the data set, such as bar/train/climbing_0.jpg,
            for the manifest and messages.
        split: train, valid or test.
        label: 0 or more.
        bias: 0 or more, or -1 if unknown.
        conflicting: whether it is bias-conflicting; None if unknown.
    """

    path: Path
    source: str
    split: Split
    label: int
    bias: int
    conflicting: bool | None


def entries_hash(
    found: FoundSet, list_entries: Callable[[], Sequence[Entry]], content: bytes = b""
) -> str | None:
    """Return a hash of the names, sizes and times of the images, or of the archive.

    See `BiasedDataset.raw_hash`.

    Args:
        list_entries: lists the images; not called for an archive.
        content: additional bytes to include, such as the table that lists the images.
    """
    if found.archive is not None:
        return files_hash([(found.archive.name, found.archive)], times=True)
    files = [(entry.source, entry.path) for entry in list_entries()]
    return files_hash(files, times=True, content=content)


def read_entries(
    dataset: BiasedDataset,
    entries: Sequence[Entry],
    problems: Sequence[str],
    *,
    where: Path,
    remedy: str,
    percent: str,
    seed: int,
    origin: str,
    size: Size | None = None,
    resize: bool = False,
    crop: int | None = None,
) -> BiasedData:
    """Decode images and make the manifest and the data card.

    Args:
        entries: in the order of the array, with consistent labels.
        problems: what was wrong with files while they were listed.
        where: folder or archive, for messages.
        remedy: a sentence on what to do about problems.
        percent: for the data card.
        seed: for the data card.
        origin: for the data card.
        size, resize, crop: see `decode_images`.

    Returns:
        images uint8, N × H × W × 3.

    Raises:
        UserError: if there are problems, a split has no images, or a file cannot be decoded; the
            message counts all problems and shows the first ten.
    """
    present = {entry.split for entry in entries}
    found = [*problems]
    # An empty folder was reported while it was listed.
    if not found:
        found += [f"the {split} split: no images" for split in SPLITS if split not in present]
    bad: dict[int, str] = {}
    images = decode_images(
        [entry.path for entry in entries],
        bad,
        size,
        resize=resize,
        crop=crop,
        name=dataset.name,
        source=where,
    )
    found += [f"{entries[row].source}: {reason}" for row, reason in bad.items()]
    if found:
        raise problems_error(where, found, remedy)
    return make_data(
        dataset,
        images,
        percent=percent,
        seed=seed,
        origin=origin,
        split=[entry.split for entry in entries],
        label=np.array([entry.label for entry in entries], np.int16),
        bias=np.array([entry.bias for entry in entries], np.int16),
        conflicting=[entry.conflicting for entry in entries],
        source=[entry.source for entry in entries],
    )
