"""Read the folder layout in which biased data sets are published.

    <set>/<percent>/align/<class>/<id>_<label>_<bias>.png
    <set>/<percent>/conflict/<class>/<id>_<label>_<bias>.png
    <set>/<percent>/valid/…      flat or in class folders; <set>/valid/… for bffhq
    <set>/test/…                 flat or in class folders

It is the layout of cmnist, cifar10c and bffhq as released with Lee et al. 2021 (arXiv 2107.01372),
and of dogs_and_cats as released with Lee et al. 2023 (arXiv 2205.14594). Files may be JPEG too.
An archive named after the data set may contain all of this.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Final

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.entries import Entry, entries_hash, read_entries
from debias_pipeline.biased_data.sources.found_set import FoundSet, find_set, unpacked
from debias_pipeline.biased_data.sources.raw_dir import children
from debias_pipeline.errors import UserError
from debias_pipeline.names import Split

# A folder of images of a split; the last field says whether all of them conflict, None if they may
# or may not.
ImageFolder = tuple[Split, Path, bool | None]

_IMAGE_NAME: Final = re.compile(r".+_([0-9]{1,4})_([0-9]{1,4})\.(?:png|jpe?g)", re.IGNORECASE)
# One published archive has a misspelled folder.
_CONFLICT_FOLDERS: Final = ("conflict", "conlict")
REMEDY: Final = "Repair or remove these, or unpack the published set again."


def find_published(name: str, raw_dir: Path) -> FoundSet | None:
    """Return where a data set is in the published layout, if it is there; see `find_set`."""
    return find_set(name, raw_dir, _has_percents)


def read_published(
    dataset: BiasedDataset,
    published: FoundSet,
    *,
    percent: str,
    seed: int,
    side: int | None = None,
) -> BiasedData:
    """Read a data set from the published layout.

    Images are in the order of train, valid, test, and of their paths within each. Label and bias
    must be equal for files in `align`, and different for files in `conflict`.

    Args:
        published: from `find_published`.
        seed: for the data card only; nothing is random.
        side: height and width to resize all images to, in pixels; None if the images of the data
            set have one size, which they keep.

    Returns:
        images uint8, N × H × W × 3.

    Raises:
        UserError: if there is no such percent, the archive is unsafe or damaged, or anything is
            wrong with a file; the message counts all problems and shows the first ten.
    """

    def is_needed(place: PurePosixPath) -> bool:
        return all(part == percent or not is_percent(part) for part in place.parts)

    content = f"folder {published.name}/<percent>, such as {published.name}/{percent}"
    with unpacked(published, _has_percents, content, is_needed) as found:
        present = percent_folders(found.folder)
        if percent not in present:
            raise UserError(
                f"{found.where} has no folder {percent}; choose one of {', '.join(present)}."
            )
        problems: list[str] = []
        return read_entries(
            dataset,
            _list_set(dataset, found, percent, problems),
            problems,
            where=found.where,
            remedy=REMEDY,
            percent=percent,
            seed=seed,
            origin=f"published folder layout{' in an archive' if found.archive else ''}",
            size=None if side is None else (side, side),
            resize=side is not None,
        )


def published_hash(dataset: BiasedDataset, published: FoundSet, percent: str) -> str | None:
    """Return a hash of the files of a percent, or of the archive; see `BiasedDataset.raw_hash`."""
    return entries_hash(published, lambda: _list_set(dataset, published, percent, []))


def _has_percents(folder: Path) -> bool:
    return bool(percent_folders(folder))


def percent_folders(folder: Path) -> list[str]:
    """Return the names of the percent folders in a folder, by size."""
    if not folder.is_dir():
        return []
    names = [entry.name for entry in folder.iterdir() if is_percent(entry.name) and entry.is_dir()]
    return sorted(names, key=parse_percent)


def is_percent(name: str) -> bool:
    """Return whether a name is a percentage such as 2pct."""
    try:
        parse_percent(name)
    except UserError:
        return False
    return True


def _list_set(
    dataset: BiasedDataset,
    published: FoundSet,
    percent: str,
    problems: list[str],
) -> list[Entry]:
    within = published.folder / percent
    conflict = [name for name in _CONFLICT_FOLDERS if (within / name).is_dir()] or ["conflict"]
    shared = published.folder / "valid"
    valid = shared if shared.is_dir() and not (within / "valid").is_dir() else within / "valid"
    folders: list[ImageFolder] = [
        ("train", within / "align", False),
        *(("train", within / name, True) for name in conflict),
        ("valid", valid, None),
        ("test", published.folder / "test", None),
    ]
    return list_folders(dataset, published, folders, problems)


def list_folders(
    dataset: BiasedDataset,
    published: FoundSet,
    folders: Sequence[ImageFolder],
    problems: list[str],
    *,
    check_bias: bool = True,
) -> list[Entry]:
    """List the images of folders by their names, <id>_<label>_<bias>.png or .jpg.

    Args:
        folders: of images, or of class folders of images.
        problems: messages are appended.
        check_bias: whether the bias in a name must be below the number of bias names, and agree
            with the folder.

    Returns:
        The images; `conflicting` is that of the folder, or else whether label and bias differ.
    """
    return list(
        chain.from_iterable(
            _list_folder(dataset, published, each, problems, check_bias=check_bias)
            for each in folders
        )
    )


def _list_folder(
    dataset: BiasedDataset,
    published: FoundSet,
    listed: ImageFolder,
    problems: list[str],
    *,
    check_bias: bool,
) -> list[Entry]:
    split, folder, conflicting = listed
    paths = list(_walk(folder, published, problems))
    if not paths:
        problems.append(f"{published.place(folder)}: no images")
    entries = []
    for path in paths:
        entry = _parse(path, published, split, conflicting)
        if entry is None:
            problem: str | None = "the name is not <id>_<label>_<bias>.png or .jpg"
        else:
            problem = _label_problem(dataset, entry, path.parent, folder)
            if check_bias and not problem:
                problem = _bias_problem(dataset, entry, folder)
        if problem:
            problems.append(f"{published.place(path)}: {problem}")
        elif entry:
            entries.append(entry)
    return entries


def _walk(folder: Path, published: FoundSet, problems: list[str]) -> Iterator[Path]:
    """Yield the files in a folder and in its class folders, sorted."""

    def visible(within: Path) -> Iterator[Path]:
        return children(within, published.raw_dir, published.place, problems)

    for path in visible(folder):
        if path.is_dir():
            yield from (inner for inner in visible(path) if not inner.is_dir())
        else:
            yield path


def _parse(path: Path, published: FoundSet, split: Split, conflicting: bool | None) -> Entry | None:
    match = _IMAGE_NAME.fullmatch(path.name)
    if not match:
        return None
    label, bias = (int(number) for number in match.groups())
    if conflicting is None:
        conflicting = label != bias
    return Entry(path, published.place(path), split, label, bias, conflicting)


def _label_problem(dataset: BiasedDataset, entry: Entry, parent: Path, folder: Path) -> str | None:
    if entry.label >= len(dataset.label_names):
        return f"label {entry.label} is not below {len(dataset.label_names)}"
    if parent != folder and parent.name.isdecimal() and int(parent.name) != entry.label:
        return f"label {entry.label} does not match the class folder {parent.name}"
    return None


def _bias_problem(dataset: BiasedDataset, entry: Entry, folder: Path) -> str | None:
    if entry.bias >= len(dataset.bias_names):
        return f"bias {entry.bias} is not below {len(dataset.bias_names)}"
    if entry.conflicting != (entry.label != entry.bias):
        relation = "equals" if entry.conflicting else "does not equal"
        return f"label {entry.label} {relation} bias {entry.bias}, but it is in {folder.name}/"
    return None
