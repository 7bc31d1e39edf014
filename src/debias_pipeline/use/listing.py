"""List the image files to predict: of a folder, a table or a pattern."""

import glob
from pathlib import Path

import pandas as pd

from debias_pipeline.biased_data.folder.class_folders import images_below
from debias_pipeline.biased_data.folder.tables import TEXT_TABLES, find_file, read_csv
from debias_pipeline.biased_data.sources.decoding import IMAGE_SUFFIXES
from debias_pipeline.biased_data.sources.raw_dir import children, is_inside, is_utf8, problems_error
from debias_pipeline.errors import UserError

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
        UserError: if nothing is found, a path is outside of the folder, or a name is not UTF-8.
    """
    path = Path(images).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file() and path.name.lower().endswith(TEXT_TABLES):
        return _in_table(path)
    if path.is_file():
        return [path], [str(path)]
    if _GLOB & set(images):
        # pathlib's own globs are relative to a folder and do not support absolute patterns.
        found = sorted(Path(each) for each in glob.glob(str(path), recursive=True))  # noqa: PTH207
        files = [each for each in found if each.suffix.lower() in IMAGE_SUFFIXES]
        if unclear := [each for each in files if not is_utf8(str(each))]:
            raise UserError(f"images={images}: {unclear[0]}: its name is not UTF-8; rename it")
        if files:
            return files, [str(each) for each in files]
        raise UserError(f"images={images} matches no image file")
    raise UserError(
        f"images={images} does not exist; give a folder, a CSV with a column path, or a pattern "
        "such as photos/*.jpg"
    )


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    problems: list[str] = []

    def place(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    def visible(each: Path) -> list[Path]:
        return list(children(each, folder, place, problems))

    files = sorted(images_below(folder, visible, place, problems, skipped=[]))
    if problems:
        raise problems_error(folder, problems, "Move the files into the folder.")
    if not files:
        raise UserError(f"images={folder} has no image files")
    return files, [place(path) for path in files]


def _in_table(table: Path) -> tuple[list[Path], list[str]]:
    frame = read_csv(table)
    names = [name for name in frame.get("path", pd.Series(dtype=str)).str.strip() if name]
    if not names:
        raise UserError(f"images={table} needs a column path with at least one row")
    outside = [name for name in names if not is_inside(table.parent / name, table.parent)]
    if outside:
        raise UserError(
            f"images={table}: {outside[0]} is outside of {table.parent}; move the image there"
        )
    return [table.parent / (find_file(table.parent, name) or name) for name in names], names
