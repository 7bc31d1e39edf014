"""Read the folder layout in which biased data sets are published.

    <set>/<percent>/align/<class>/<id>_<label>_<bias>.png
    <set>/<percent>/conflict/<class>/<id>_<label>_<bias>.png
    <set>/<percent>/valid/…      flat or in class folders; <set>/valid/… for bffhq
    <set>/test/…                 flat or in class folders

It is the layout of cmnist, cifar10c and bffhq as released with Lee et al. 2021 (arXiv 2107.01372).
An archive named after the data set may contain all of this.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.manifest import make_data_card, make_manifest
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.archives import archive_stem, archives_in, extracted
from debias_pipeline.biased_data.sources.decoding import decode_images
from debias_pipeline.biased_data.sources.raw_dir import children, is_inside, problems_error
from debias_pipeline.errors import UserError
from debias_pipeline.names import Split

_IMAGE_NAME: Final = re.compile(r".+_([0-9]{1,4})_([0-9]{1,4})\.png", re.IGNORECASE)
# One published archive has a misspelled folder.
_CONFLICT_FOLDERS: Final = ("conflict", "conlict")
_REMEDY: Final = "Repair or remove these, or unpack the published set again."


@dataclass(frozen=True)
class PublishedSet:
    """A data set found in the published layout.

    Attributes:
        name: of the data set; every `source` starts with it.
        folder: the folder of the percent folders, or the archive of it.
        raw_dir: as given by the user, or the folder to which the archive is unpacked; nothing
            outside of it is read.
        archive: None if the data set is not in an archive.
    """

    name: str
    folder: Path
    raw_dir: Path
    archive: Path | None = None

    @property
    def where(self) -> Path:
        """Path of the archive or folder, for messages."""
        return self.archive or self.folder


@dataclass(frozen=True)
class _Entry:
    path: Path
    source: str
    split: Split
    label: int
    bias: int


def find_published(name: str, raw_dir: Path) -> PublishedSet | None:
    """Return where a data set is in the published layout, if it is there.

    Args:
        name: of the data set.
        raw_dir: may contain the folder `name`, be this folder, or contain the archive `name`.zip
            (.tar, .tar.gz, …). A folder is preferred to an archive.

    Returns:
        None if there is neither a folder of that name with a percent folder, nor an archive.

    Raises:
        UserError: if the folder or archive is a link that leads out of `raw_dir`, or there are
            several archives.
    """
    candidates = [raw_dir / name]
    if raw_dir.resolve().name == name:
        candidates.append(raw_dir)
    for folder in candidates:
        if not _percents(folder):
            continue
        if not is_inside(folder, raw_dir):
            raise UserError(
                f"{folder} is a link that leads out of raw_dir; set raw_dir={folder.resolve()}."
            )
        return PublishedSet(name, folder, raw_dir)
    archives = [path for path in archives_in(raw_dir) if archive_stem(path) == name]
    if len(archives) > 1:
        raise UserError(
            f"{raw_dir} has several archives, {' and '.join(path.name for path in archives)}; keep "
            f"the one to use."
        )
    return PublishedSet(name, archives[0], raw_dir, archives[0]) if archives else None


def read_published(
    dataset: BiasedDataset,
    published: PublishedSet,
    *,
    percent: str,
    seed: int,
) -> BiasedData:
    """Read a data set from the published layout.

    Images are in the order of train, valid, test, and of their paths within each. Label and bias
    must be equal for files in `align`, and different for files in `conflict`.

    Args:
        published: from `find_published`.
        seed: for the data card only; nothing is random.

    Returns:
        images uint8, N × H × W × 3.

    Raises:
        UserError: if there is no such percent, the archive is unsafe or damaged, or anything is
            wrong with a file; the message counts all problems and shows the first ten.
    """
    with _unpacked(published, percent) as unpacked:
        return _read(dataset, unpacked, percent, seed)


def published_hash(dataset: BiasedDataset, published: PublishedSet, percent: str) -> str | None:
    """Return a hash of the files of a percent, or of the archive; see `BiasedDataset.raw_hash`."""
    if published.archive is not None:
        return files_hash([(published.archive.name, published.archive)], times=True)
    entries = _list_set(dataset, published, percent, problems=[])
    return files_hash([(entry.source, entry.path) for entry in entries], times=True)


@contextmanager
def _unpacked(published: PublishedSet, percent: str) -> Iterator[PublishedSet]:
    if published.archive is None:
        yield published
        return

    def is_needed(place: PurePosixPath) -> bool:
        return all(part == percent or not _is_percent(part) for part in place.parts)

    with extracted(published.archive, is_needed) as root:
        # The folder of the data set may be inside of another folder, or missing.
        places = [
            root / published.name,
            root,
            *sorted(root.glob(f"*/{published.name}")),
            *(sorted(root.glob("*"))),
        ]
        folder = next((place for place in places if _percents(place)), None)
        if folder is None:
            raise UserError(
                f"{published.archive} has no folder {published.name}/<percent>, such as "
                f"{published.name}/{percent}; pack it again, or remove it."
            )
        yield replace(published, folder=folder, raw_dir=root)


def _read(dataset: BiasedDataset, published: PublishedSet, percent: str, seed: int) -> BiasedData:
    present = _percents(published.folder)
    if percent not in present:
        raise UserError(
            f"{published.where} has no folder {percent}; choose one of {', '.join(present)}."
        )
    problems: list[str] = []
    entries = _list_set(dataset, published, percent, problems)
    bad: dict[int, str] = {}
    images = decode_images([entry.path for entry in entries], bad)
    problems += [f"{entries[row].source}: {reason}" for row, reason in bad.items()]
    if problems:
        raise problems_error(published.where, problems, _REMEDY)

    label = np.array([entry.label for entry in entries], np.int16)
    bias = np.array([entry.bias for entry in entries], np.int16)
    manifest = make_manifest(
        split=[entry.split for entry in entries],
        label=label,
        bias=bias,
        conflicting=label != bias,
        source=[entry.source for entry in entries],
    )
    card = make_data_card(
        dataset,
        manifest,
        percent=percent,
        seed=seed,
        image_shape=images.shape[1:],
        origin=f"published folder layout{' in an archive' if published.archive else ''}",
    )
    return BiasedData(images, manifest, card)


def _percents(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    names = [entry.name for entry in folder.iterdir() if _is_percent(entry.name) and entry.is_dir()]
    return sorted(names, key=parse_percent)


def _is_percent(name: str) -> bool:
    try:
        parse_percent(name)
    except UserError:
        return False
    return True


def _list_set(
    dataset: BiasedDataset,
    published: PublishedSet,
    percent: str,
    problems: list[str],
) -> list[_Entry]:
    within = published.folder / percent
    conflict = [name for name in _CONFLICT_FOLDERS if (within / name).is_dir()] or ["conflict"]
    shared = published.folder / "valid"
    valid = shared if shared.is_dir() and not (within / "valid").is_dir() else within / "valid"
    # The third field says whether all images of the folder conflict; None if they may or may not.
    folders: list[tuple[Split, Path, bool | None]] = [
        ("train", within / "align", False),
        *(("train", within / name, True) for name in conflict),
        ("valid", valid, None),
        ("test", published.folder / "test", None),
    ]
    return list(
        chain.from_iterable(
            _list_folder(dataset, published, split, folder, conflicting, problems)
            for split, folder, conflicting in folders
        )
    )


def _list_folder(
    dataset: BiasedDataset,
    published: PublishedSet,
    split: Split,
    folder: Path,
    conflicting: bool | None,
    problems: list[str],
) -> list[_Entry]:
    paths = list(_walk(folder, published, problems))
    if not paths:
        problems.append(f"{_place(folder, published)}: no images")
    entries = []
    for path in paths:
        entry = _parse(path, published, split)
        problem = (
            "the name is not <id>_<label>_<bias>.png"
            if entry is None
            else _problem(dataset, entry, path.parent, folder, conflicting)
        )
        if problem:
            problems.append(f"{_place(path, published)}: {problem}")
        elif entry:
            entries.append(entry)
    return entries


def _walk(folder: Path, published: PublishedSet, problems: list[str]) -> Iterator[Path]:
    """Yield the files in a folder and in its class folders, sorted."""

    def visible(within: Path) -> Iterator[Path]:
        return children(within, published.raw_dir, lambda path: _place(path, published), problems)

    for path in visible(folder):
        if path.is_dir():
            yield from (inner for inner in visible(path) if not inner.is_dir())
        else:
            yield path


def _parse(path: Path, published: PublishedSet, split: Split) -> _Entry | None:
    match = _IMAGE_NAME.fullmatch(path.name)
    if not match:
        return None
    label, bias = (int(number) for number in match.groups())
    return _Entry(path, _place(path, published), split, label, bias)


def _problem(
    dataset: BiasedDataset, entry: _Entry, parent: Path, folder: Path, conflicting: bool | None
) -> str | None:
    if entry.label >= len(dataset.label_names):
        return f"label {entry.label} is not below {len(dataset.label_names)}"
    if entry.bias >= len(dataset.bias_names):
        return f"bias {entry.bias} is not below {len(dataset.bias_names)}"
    if parent != folder and parent.name.isdecimal() and int(parent.name) != entry.label:
        return f"label {entry.label} does not match the class folder {parent.name}"
    if conflicting is not None and conflicting != (entry.label != entry.bias):
        relation = "equals" if conflicting else "does not equal"
        return f"label {entry.label} {relation} bias {entry.bias}, but it is in {folder.name}/"
    return None


def _place(path: Path, published: PublishedSet) -> str:
    return Path(published.name, path.relative_to(published.folder)).as_posix()
