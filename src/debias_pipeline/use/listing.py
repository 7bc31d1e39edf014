"""List the image files to predict: of a folder, a table or a pattern."""

import glob
import logging
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import pandas as pd

from debias_pipeline.biased_data.folder.bad_files import with_unnamed_images
from debias_pipeline.biased_data.folder.class_folders import images_below
from debias_pipeline.biased_data.folder.tables import TEXT_TABLES, find_file, read_csv
from debias_pipeline.biased_data.sources.image_files import has_image_suffix, reason_to_leave_out
from debias_pipeline.biased_data.sources.raw_dir import (
    FileNotes,
    children,
    is_inside,
    is_utf8,
    problems_error,
    reason_to_ignore,
)
from debias_pipeline.errors import UserError, printable

logger = logging.getLogger(__name__)

_GLOB = frozenset("*?[")


def list_images(images: str) -> tuple[list[Path], list[str]]:
    """List image files to predict.

    Args:
        images: a folder (with its subfolders), a CSV (.csv, .tsv, also as .gz) with a column
            `path` whose paths are relative to the CSV's folder and lie in it, an image file, or a
            pattern such as `photos/*.jpg`.

    Returns:
        The files, and their names in tables: relative to the folder, or as in the CSV.

    Raises:
        UserError: if nothing is found, a path is outside of the folder, an image lacks the suffix
            of one, or a name is not UTF-8.
    """
    path = Path(images).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file() and path.name.lower().endswith(TEXT_TABLES):
        return _in_table(path)
    if path.is_file():
        return [path], [str(path)]
    if _GLOB & set(images):
        return _matching(path)
    raise UserError(
        f"images={images} does not exist; give a folder, a CSV with a column path, or a pattern "
        "such as photos/*.jpg"
    )


def _matching(pattern: Path) -> tuple[list[Path], list[str]]:
    # Only the part of the path that is found may not be hidden.
    named = Path(*takewhile(lambda part: not _GLOB & set(part), pattern.parts))
    files, others = [], FileNotes()
    # pathlib's own globs are relative to a folder and do not support absolute patterns.
    for path in sorted(map(Path, glob.glob(str(pattern), recursive=True))):  # noqa: PTH207
        reason = reason_to_ignore(path.relative_to(named))
        if not reason and not has_image_suffix(path):
            reason = reason_to_leave_out(path)
        if reason and path.is_file():
            others.left_out[str(path)] = reason
        elif not is_utf8(str(path)):
            others.bad[printable(str(path))] = "its name is not UTF-8; rename it"
        elif path.is_file():
            files.append(path)
    _check(pattern, Path(), files, others)
    return files, [str(each) for each in files]


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    problems: list[str] = []
    others = FileNotes()

    def place(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    def visible(each: Path) -> list[Path]:
        return list(children(each, folder, place, problems, others))

    files = sorted(images_below(folder, visible, place, problems, others))
    if problems:
        raise problems_error(folder, problems, "Move the files into the folder.")
    _check(folder, folder, files, others)
    return files, [place(path) for path in files]


def _check(images: Path, folder: Path, files: Sequence[Path], others: FileNotes) -> None:
    """Check that there are images and that none is left out for its name; log what is left out.

    Args:
        images: as given by the user.
        folder: to which the files in `others` are relative.
    """
    others = with_unnamed_images(others, folder)
    if others.bad:
        problems = [f"{file}: {reason}" for file, reason in others.bad.items()]
        raise problems_error(images, problems, "Repair, rename or remove these.")
    if others.left_out:
        logger.info("Left out of %s: %s", images, others.describe_left_out())
    if not files:
        raise UserError(f"images={images} has no image files")


def _in_table(table: Path) -> tuple[list[Path], list[str]]:
    frame = read_csv(table) if table.read_bytes().strip() else pd.DataFrame({"path": []}, dtype=str)
    frame.columns = frame.columns.str.strip()
    names = [name for name in frame.get("path", pd.Series(dtype=str)).str.strip() if name]
    if not names:
        raise UserError(f"images={table} needs a column path with at least one row")
    outside = [name for name in names if not is_inside(table.parent / name, table.parent)]
    if outside:
        raise UserError(
            f"images={table}: {outside[0]} is outside of {table.parent}; move the image there"
        )
    return [table.parent / (find_file(table.parent, name) or name) for name in names], names
