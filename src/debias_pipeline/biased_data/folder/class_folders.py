"""List the images in class folders."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from debias_pipeline.biased_data.folder.listing import (
    Listing,
    mentions_split,
    names_split,
    splits_of,
)
from debias_pipeline.biased_data.manifest import is_relative
from debias_pipeline.biased_data.sources.image_files import has_image_suffix, reason_to_leave_out
from debias_pipeline.biased_data.sources.raw_dir import FileNotes, children
from debias_pipeline.errors import UserError, printable

_SHOWN: Final = 5

_OUTSIDE: Final = "outside of class folders"


def list_class_folders(raw_dir: Path) -> Listing:
    """List the images of a folder with <class>/…, or <split>/<class>/….

    Args:
        raw_dir: folder of the class or split folders; files directly in it are left out.

    Raises:
        UserError: if there are no class folders, or the layout of the split folders is unclear.
    """
    problems: list[str] = []
    notes = FileNotes()

    def source(path: Path) -> str:
        return path.relative_to(raw_dir).as_posix()

    def place(path: Path) -> str:
        return printable(source(path))

    def visible(folder: Path) -> list[Path]:
        return list(children(folder, raw_dir, place, problems, notes))

    found: list[tuple[Path, str, str]] = []
    splits = _split_folders(raw_dir, visible, place, problems)
    for folder in (raw_dir, *(folder for _, folder in splits)):
        loose = [path for path in visible(folder) if not path.is_dir()]
        notes.left_out.update((place(path), _OUTSIDE) for path in loose)
    for split, folder in splits:
        for path in visible(folder):
            if not path.is_dir():
                continue
            images = list(images_below(path, visible, place, problems, notes))
            if not images:
                problems.append(f"{place(path)}: no images")
            for image in images:
                if is_relative(source(image)):
                    found.append((image, path.name, split))
                else:
                    problems.append(f"{place(image)}: is like a path of Windows; rename it")
    if not found and not problems:
        raise UserError(
            f"{raw_dir} has neither a table nor class folders; add a .csv or .parquet table with "
            f"path and label, or one folder of images per class (unpack archives first)."
        )
    return Listing(
        where=raw_dir,
        is_table=False,
        rows=[place(path) for path, _, _ in found],
        path=[path for path, _, _ in found],
        source=[source(path) for path, _, _ in found],
        label=[label for _, label, _ in found],
        bias=[""] * len(found),
        split=[split for _, _, split in found],
        extra=None,
        problems=list(dict.fromkeys(problems)),  # some folders are listed twice
        others=notes,
    )


def _split_folders(
    raw_dir: Path,
    visible: Callable[[Path], list[Path]],
    place: Callable[[Path], str],
    problems: list[str],
) -> list[tuple[str, Path]]:
    """Return the split folders, or `raw_dir` if its folders are classes (e.g. one named train)."""
    inner = {
        path: [each.name for each in visible(path) if each.is_dir()]
        for path in visible(raw_dir)
        if path.is_dir()
    }
    read = splits_of(path.name for path in inner)
    splits = [(read[path.name], path) for path in inner if read[path.name]]
    # A single folder such as bullet_train is a class.
    clear = len(splits) > 1 or any(names_split(path.name) for _, path in splits)
    if not clear or not any(inner[path] for _, path in splits):
        _check_tops_are_classes(raw_dir, inner)
        return [("", raw_dir)]
    problems.extend(
        f"{place(path)}: is not train, valid or test, but other folders are"
        for path in inner
        if not read[path.name]
    )
    for split, path in splits:
        if not inner[path]:
            problems.append(f"{place(path)}: the {split} split has no class folders")
        elif len(inner[path]) == 1 and mentions_split(inner[path][0]):
            problems.append(f"{place(path)}: contains only {inner[path][0]}; move its folders up")
    return splits


def _check_tops_are_classes(raw_dir: Path, inner: Mapping[Path, list[str]]) -> None:
    """Check that no folder looks like a split, since it would silently become a class.

    Args:
        raw_dir: for the message.
        inner: the folders in `raw_dir`, each with the names of the folders in it.
    """
    around = [top for top, names in inner.items() if sum(map(bool, splits_of(names).values())) > 1]
    if len(inner) == 1 and (around or len(next(iter(inner.values()))) > 1):
        only, inside = next(iter(inner.items()))
        raise UserError(
            f"{raw_dir} has only the folder {only.name}, which contains {_listed(inside)}; pass "
            f"raw_dir={only}."
        )
    if around:
        raise UserError(
            f"{_names(around)} in {raw_dir} contains {_listed(inner[around[0]])}; move the split "
            f"folders up: train/<class>/, valid/<class>/, test/<class>/."
        )
    named = [top for top in inner if mentions_split(top.name)]
    if len(named) > 1 and not any(inner[top] for top in named) and len(named) == len(inner):
        raise UserError(
            f"{_names(named)} in {raw_dir} look like splits, but have no class folders; move the "
            f"images to train/<class>/, valid/<class>/ and test/<class>/, or list them in a table."
        )
    contents = [{name.lower() for name in names} for names in inner.values()]
    # A split has at least two classes; a single folder in each class is e.g. cat/images/.
    alike = len(contents) > 1 and len(contents[0]) > 1 and contents.count(contents[0]) == len(inner)
    if alike or (len(named) > 1 and any(inner[top] for top in named)):
        raise UserError(
            f"{_names(inner if alike else named)} in {raw_dir} look like splits"
            + (f", as each has the folders {_listed([*contents[0]])}" if alike else "")
            + "; rename them to train, valid, test (each with class folders), or, if they are "
            "classes, list the images in a table."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _names(folders: Iterable[Path]) -> str:
    *others, last = [printable(folder.name) for folder in folders]
    return f"{', '.join(others)} and {last}" if others else last


def images_below(
    folder: Path,
    visible: Callable[[Path], list[Path]],
    place: Callable[[Path], str],
    problems: list[str],
    notes: FileNotes,
) -> Iterator[Path]:
    """Yield the image files of a folder and its subfolders.

    Args:
        visible: returns the contents of a folder.
        place: returns the name of a path in messages.
        problems: linked folders are added here.
        notes: files that do not have the suffix of an image are added here.
    """
    for path in visible(folder):
        if path.is_dir() and path.is_symlink():  # could be a loop
            problems.append(f"{place(path)}: is a link to a folder; copy the folder there")
        elif path.is_dir():
            yield from images_below(path, visible, place, problems, notes)
        elif has_image_suffix(path):
            yield path
        else:
            notes.left_out[place(path)] = reason_to_leave_out(path)
