"""List the images in class folders."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from debias_pipeline.biased_data.folder.listing import Listing, mentions_split, split_of
from debias_pipeline.biased_data.sources.image_files import has_image_suffix, reason_to_leave_out
from debias_pipeline.biased_data.sources.raw_dir import FileNotes, children
from debias_pipeline.errors import UserError

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

    def place(path: Path) -> str:
        return path.relative_to(raw_dir).as_posix()

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
            found += [(image, path.name, split) for image in images]
    if not found and not problems:
        raise UserError(
            f"{raw_dir} has neither a table nor class folders; add a .csv or .parquet table with "
            f"path and label, or one folder of images per class (unpack archives first)."
        )
    source = [place(path) for path, _, _ in found]
    return Listing(
        where=raw_dir,
        is_table=False,
        rows=source,
        path=[path for path, _, _ in found],
        source=source,
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
    tops = [path for path in visible(raw_dir) if path.is_dir()]
    inner = {path: {each.name.lower() for each in visible(path) if each.is_dir()} for path in tops}
    splits = [(split_of(path.name), path) for path in tops if split_of(path.name)]
    if not any(inner[path] for _, path in splits):
        _check_tops_are_classes(raw_dir, inner)
        return [("", raw_dir)]
    problems.extend(
        f"{place(path)}: is not train, valid or test, but other folders are"
        for path in tops
        if not split_of(path.name)
    )
    for split, path in splits:
        if not inner[path]:
            problems.append(f"{place(path)}: the {split} split has no class folders")
    return splits


def _check_tops_are_classes(raw_dir: Path, inner: Mapping[Path, set[str]]) -> None:
    """Check that no folder looks like a split, since it would silently become a class.

    Args:
        raw_dir: for the message.
        inner: the folders in `raw_dir`, each with the names of the folders in it, in lower case.
    """
    around = [top for top, names in inner.items() if sum(map(bool, map(split_of, names))) > 1]
    if around:
        inside = sorted(inner[around[0]])
        remedy = (
            f"pass raw_dir={around[0]}"
            if len(inner) == 1
            else "move the split folders up: train/<class>/, valid/<class>/, test/<class>/"
        )
        raise UserError(f"{_names(around)} in {raw_dir} contains {', '.join(inside)}; {remedy}.")
    named = [top for top in inner if mentions_split(top.name)]
    if len(named) > 1 and not any(inner[top] for top in named) and len(named) == len(inner):
        raise UserError(
            f"{_names(named)} in {raw_dir} look like splits, but have no class folders; move the "
            f"images to train/<class>/, valid/<class>/ and test/<class>/, or list them in a table."
        )
    contents = list(inner.values())
    # A split has at least two classes; a single folder in each class is e.g. cat/images/.
    alike = len(contents) > 1 and len(contents[0]) > 1 and contents.count(contents[0]) == len(inner)
    if alike or (len(named) > 1 and any(inner[top] for top in named)):
        raise UserError(
            f"{_names(inner if alike else named)} in {raw_dir} look like splits; rename them to "
            f"train, valid, test (each with class folders), or, if they are classes, list the "
            f"images in a table."
        )


def _names(folders: Iterable[Path]) -> str:
    *others, last = [folder.name for folder in folders]
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
