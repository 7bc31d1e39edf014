"""What a user's own folder of images holds: from a table in it, or from its class folders."""

import csv
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import pandas as pd

from debias_pipeline.biased_data.decoding import IMAGE_SUFFIXES
from debias_pipeline.biased_data.image_files import children, is_inside
from debias_pipeline.errors import UserError

logger = logging.getLogger(__name__)

TABLE_SUFFIXES: Final = (".csv", ".parquet")

_NEEDED: Final = ("path", "label")
_KNOWN: Final = (*_NEEDED, "bias", "split")
_SEPARATORS: Final = (",", ";", "\t")
_SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
_UPWARDS: Final = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")
_SHOWN: Final = 5


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


def list_folder(raw_dir: Path, table: str) -> Listing:
    """List the images of a folder.

    Args:
        raw_dir: holds the images.
        table: of this name in `raw_dir`; "" takes the only one there, or class folders if there
            is none.

    Raises:
        UserError: if there is neither table nor class folders, several tables, or a table can't
            be read or lacks columns.
    """
    if table:
        return _from_table(raw_dir, _named_table(raw_dir, table))
    tables = sorted(
        path
        for path in raw_dir.iterdir()
        if path.suffix.lower() in TABLE_SUFFIXES and not path.name.startswith(".")
    )
    if len(tables) > 1:
        raise UserError(
            f"{raw_dir} holds several tables ({', '.join(path.name for path in tables)}): name "
            f"the one to use with table=…"
        )
    if tables:
        return _from_table(raw_dir, _named_table(raw_dir, tables[0].name))
    return _from_class_folders(raw_dir)


# --- Tables ---------------------------------------------------------------------------------------


def _named_table(raw_dir: Path, name: str) -> Path:
    path = raw_dir / name
    if _UPWARDS.search(name) or not is_inside(path, raw_dir):
        raise UserError(f"table={name} leads out of raw_dir: put the table into {raw_dir}.")
    if not path.is_file():
        raise UserError(f"table={name} is no file in {raw_dir}: correct the name.")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(f"table={name} is neither .csv nor .parquet: save it as one of them.")
    return path


def _from_table(raw_dir: Path, table: Path) -> Listing:
    is_csv = table.suffix.lower() == ".csv"
    frame = _read_csv(table) if is_csv else _read_parquet(table)
    frame.columns = [str(name).strip() for name in frame.columns]
    _check_columns(table, frame)
    texts = {name: _texts(frame, name) for name in _KNOWN}
    # Lines without anything in them, as many programs leave them at the end.
    blank = pd.Series(True, index=frame.index)
    for values in texts.values():
        blank &= values == ""
    frame = frame[~blank]
    texts = {name: values[~blank] for name, values in texts.items()}
    if frame.empty:
        raise UserError(f"{table} has no rows: write one for each image.")
    # As a spreadsheet counts, where the header is row 1; a parquet table has no header row.
    rows = [f"row {index + (2 if is_csv else 1)}" for index in frame.index]
    problems: list[str] = []
    source = _sources(rows, texts["path"].tolist(), raw_dir, problems)
    return Listing(
        where=table,
        is_table=True,
        rows=[
            f"{row} ({place})" if place else row for row, place in zip(rows, source, strict=True)
        ],
        path=[raw_dir / place for place in source],
        source=source,
        label=_labels(rows, texts["label"].tolist(), problems),
        bias=texts["bias"].tolist(),
        split=_splits(rows, texts["split"].tolist(), problems),
        extra=_extra(frame, is_csv),
        problems=problems,
    )


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
        separator = max(_SEPARATORS, key=header.count)
        with warnings.catch_warnings():
            # Of a first row with more fields than the header, which would be cut off.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # As text throughout, since a label may be called NA or 007.
            return pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                skip_blank_lines=False,
                index_col=False,
            )
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as CSV UTF-8."
        ) from error
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty: {_needs()}.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, ValueError) as error:
        raise UserError(f"{path} is no well-formed CSV ({error}): save it again.") from error
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}): make it readable.") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow

    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or no parquet file ({error}): save it again."
        ) from error


def _check_columns(table: Path, frame: pd.DataFrame) -> None:
    columns = list(frame.columns)
    has = f"it has {', '.join(map(repr, columns)) or 'none'}"
    if any(name not in columns for name in _NEEDED):
        lacking = " and ".join(name for name in _NEEDED if name not in columns)
        raise UserError(f"{table} lacks the column {lacking}: {has}; {_needs()}.")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UserError(f"{table} has the column {', '.join(twice)} twice: rename one of them.")


def _needs() -> str:
    return "it needs path and label, and may have bias, split and any others"


def _texts(frame: pd.DataFrame, name: str) -> "pd.Series[str]":
    if name not in frame:
        return pd.Series("", index=frame.index)
    return frame[name].astype(object).map(_text).astype(object)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    # Whole numbers in a column with gaps arrive as floats.
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        value = int(value) if float(value).is_integer() else value
    return "" if value is None or value is pd.NA or value is pd.NaT else str(value).strip()


def _sources(rows: list[str], written: list[str], raw_dir: Path, problems: list[str]) -> list[str]:
    first: dict[PurePosixPath, str] = {}
    sources = []
    for row, text in zip(rows, written, strict=True):
        place, complaint = _place(text, raw_dir)
        if not complaint and place in first:
            complaint = f"{place} is in {first[place]} already"
        if complaint:
            problems.append(f"{row}: {complaint}")
        else:
            first[place] = row
        sources.append("" if complaint else place.as_posix())
    return sources


def _place(text: str, raw_dir: Path) -> tuple[PurePosixPath, str | None]:
    if not text:
        return PurePosixPath(), "no path"
    # Tables made on Windows separate with backslashes.
    place = PurePosixPath(text.replace("\\", "/"))
    if _UPWARDS.search(text):
        return place, f"{text} leads out of raw_dir: write it relative to raw_dir, without .."
    path = raw_dir / place
    if not is_inside(path, raw_dir):
        return place, f"{place} leads out of raw_dir"
    return place, None if os.path.lexists(path) else f"{place} does not exist"


def _labels(rows: list[str], texts: list[str], problems: list[str]) -> list[str]:
    problems.extend(f"{row}: no label" for row, text in zip(rows, texts, strict=True) if not text)
    return texts


def _splits(rows: list[str], texts: list[str], problems: list[str]) -> list[str]:
    if not any(texts):
        return texts
    for row, text in zip(rows, texts, strict=True):
        if not text:
            problems.append(f"{row}: no split, though other rows have one")
        elif text.lower() not in _SPLIT_NAMES:
            problems.append(f"{row}: split {text!r} is none of train, valid, test")
    return [_SPLIT_NAMES.get(text.lower(), "") for text in texts]


def _extra(frame: pd.DataFrame, is_csv: bool) -> pd.DataFrame | None:
    extra = frame.drop(columns=[name for name in _KNOWN if name in frame])
    if extra.columns.empty:
        return None
    return extra.apply(_numbers_if_all_are) if is_csv else extra


def _numbers_if_all_are(column: "pd.Series[str]") -> "pd.Series[str]":
    gaps = column.mask(column == "")
    try:
        return pd.to_numeric(gaps)
    except (ValueError, TypeError):
        return gaps


# --- Class folders --------------------------------------------------------------------------------


def _from_class_folders(raw_dir: Path) -> Listing:
    problems: list[str] = []
    passed_over: list[str] = []

    def place(path: Path) -> str:
        return path.relative_to(raw_dir).as_posix()

    def visible(folder: Path) -> list[Path]:
        return list(children(folder, raw_dir, place, problems))

    found: list[tuple[Path, str, str]] = []
    for split, folder in _split_folders(raw_dir, visible, place, problems):
        for path in visible(folder):
            if not path.is_dir():
                passed_over.append(place(path))
                continue
            images = list(_images(path, visible, place, problems, passed_over))
            if not images:
                problems.append(f"{place(path)}: no images")
            found += [(image, path.name, split) for image in images]
    if passed_over:
        logger.warning(
            "Passed over %s files in %s that no class folder holds or that are no images by "
            "name: %s%s",
            f"{len(passed_over):,}",
            raw_dir,
            ", ".join(passed_over[:_SHOWN]),
            ", …" if len(passed_over) > _SHOWN else "",
        )
    if not found and not problems:
        raise UserError(
            f"{raw_dir} holds neither a table nor class folders: put a .csv or .parquet table of "
            f"path and label there, or a folder of images per class (archives: unpack them)."
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
        problems=list(dict.fromkeys(problems)),  # some folders are looked into twice
    )


def _split_folders(
    raw_dir: Path,
    visible: Callable[[Path], list[Path]],
    place: Callable[[Path], str],
    problems: list[str],
) -> list[tuple[str, Path]]:
    """Tell whether the top folders are splits or classes: a class may be called train, too."""
    tops = [path for path in visible(raw_dir) if path.is_dir()]
    splits = [(_SPLIT_NAMES[path.name], path) for path in tops if path.name in _SPLIT_NAMES]
    if not any(inner.is_dir() for _, path in splits for inner in visible(path)):
        return [("", raw_dir)]
    problems.extend(
        f"{place(path)}: is neither train, valid nor test, as other folders are"
        for path in tops
        if path.name not in _SPLIT_NAMES
    )
    for split, path in splits:
        if not any(inner.is_dir() for inner in visible(path)):
            problems.append(f"{place(path)}: the {split} split has no class folders")
    return splits


def _images(
    folder: Path,
    visible: Callable[[Path], list[Path]],
    place: Callable[[Path], str],
    problems: list[str],
    passed_over: list[str],
) -> Iterator[Path]:
    for path in visible(folder):
        if path.is_dir() and path.is_symlink():  # could lead in a circle
            problems.append(f"{place(path)}: is a link to a folder: put the folder itself there")
        elif path.is_dir():
            yield from _images(path, visible, place, problems, passed_over)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            passed_over.append(place(path))
