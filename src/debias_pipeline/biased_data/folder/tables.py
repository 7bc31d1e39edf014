"""List the images that a table names."""

import csv
import re
import warnings
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import pandas as pd

from debias_pipeline.biased_data.folder.listing import Listing, split_of
from debias_pipeline.biased_data.sources.raw_dir import is_inside
from debias_pipeline.errors import UserError

TABLE_SUFFIXES: Final = (".csv", ".parquet")

_REQUIRED: Final = ("path", "label")
_KNOWN: Final = (*_REQUIRED, "bias", "split")
_SEPARATORS: Final = (",", ";", "\t")
_UPWARDS: Final = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")


def named_table(raw_dir: Path, name: str) -> Path:
    """Return the path of a table in `raw_dir`.

    Raises:
        UserError: if the file does not exist, is not .csv or .parquet, or is outside `raw_dir`.
    """
    path = raw_dir / name
    if _UPWARDS.search(name) or not is_inside(path, raw_dir):
        raise UserError(f"table={name} leads out of raw_dir; move the table to {raw_dir}.")
    if not path.is_file():
        raise UserError(f"table={name} is not a file in {raw_dir}; correct the name.")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(f"table={name} is neither .csv nor .parquet; save it as one of them.")
    return path


def list_table(raw_dir: Path, table: Path) -> Listing:
    """List the images that a table names.

    Args:
        raw_dir: folder of the images; paths in the table are relative to it.
        table: CSV in UTF-8, or parquet.

    Raises:
        UserError: if the table cannot be read, or has missing columns or no rows.
    """
    is_csv = table.suffix.lower() == ".csv"
    frame = read_csv(table) if is_csv else _read_parquet(table)
    frame.columns = [str(name).strip() for name in frame.columns]
    _check_columns(table, frame)
    texts = {name: _texts(frame, name) for name in _KNOWN}
    # Many programs leave empty lines at the end.
    blank = pd.Series(True, index=frame.index)
    for values in texts.values():
        blank &= values == ""
    frame = frame[~blank]
    texts = {name: values[~blank] for name, values in texts.items()}
    if frame.empty:
        raise UserError(f"{table} has no rows; add one per image.")
    # As in a spreadsheet, where the header is row 1; a parquet table has no header row.
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


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file with all values as text, including empty lines.

    The separator is a comma, a semicolon or a tab.

    Raises:
        UserError: if it cannot be read, or is not CSV in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
        separator = max(_SEPARATORS, key=header.count)
        with warnings.catch_warnings():
            # pandas only warns if it drops fields of a row that is longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # All as text, since a label may be NA or 007.
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
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as CSV UTF-8."
        ) from error
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty; {_columns()}.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, ValueError) as error:
        raise UserError(f"{path} is not a valid CSV file ({error}); save it again.") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow

    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or not a parquet file ({error}); save it again."
        ) from error


def _check_columns(table: Path, frame: pd.DataFrame) -> None:
    columns = list(frame.columns)
    present = f"it has {', '.join(map(repr, columns)) or 'none'}"
    if any(name not in columns for name in _REQUIRED):
        missing = " and ".join(name for name in _REQUIRED if name not in columns)
        raise UserError(f"{table} has no column {missing}, {present}; {_columns()}.")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UserError(f"{table} has the column {', '.join(twice)} twice; rename one of them.")


def _columns() -> str:
    return "path and label are required; bias, split and others are optional"


def _texts(frame: pd.DataFrame, name: str) -> "pd.Series[str]":
    if name not in frame:
        return pd.Series("", index=frame.index)
    return frame[name].astype(object).map(_text).astype(object)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    # Whole numbers in a column with missing values are floats.
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        value = int(value) if float(value).is_integer() else value
    return "" if value is None or value is pd.NA or value is pd.NaT else str(value).strip()


def _sources(rows: list[str], written: list[str], raw_dir: Path, problems: list[str]) -> list[str]:
    first: dict[PurePosixPath, str] = {}
    sources = []
    for row, text in zip(rows, written, strict=True):
        place, problem = _path(text, raw_dir)
        if not problem and place in first:
            problem = f"{place} is in {first[place]} already"
        if problem:
            problems.append(f"{row}: {problem}")
        else:
            first[place] = row
        sources.append("" if problem else place.as_posix())
    return sources


def _path(text: str, raw_dir: Path) -> tuple[PurePosixPath, str | None]:
    if not text:
        return PurePosixPath(), "no path"
    # Tables written on Windows may have backslashes.
    place = PurePosixPath(text.replace("\\", "/"))
    if _UPWARDS.search(text):
        return place, f"{text} leads out of raw_dir; write it relative to raw_dir, without .."
    path = raw_dir / place
    if not is_inside(path, raw_dir):
        return place, f"{place} leads out of raw_dir"
    # A missing file is found when it is opened, since skip_bad can go on without it.
    return place, None


def _labels(rows: list[str], texts: list[str], problems: list[str]) -> list[str]:
    problems.extend(f"{row}: no label" for row, text in zip(rows, texts, strict=True) if not text)
    return texts


def _splits(rows: list[str], texts: list[str], problems: list[str]) -> list[str]:
    if not any(texts):
        return texts
    for row, text in zip(rows, texts, strict=True):
        if not text:
            problems.append(f"{row}: no split, but other rows have one")
        elif not split_of(text):
            problems.append(f"{row}: split {text!r} is not train, valid or test")
    return [split_of(text) for text in texts]


def _extra(frame: pd.DataFrame, is_csv: bool) -> pd.DataFrame | None:
    extra = frame.drop(columns=[name for name in _KNOWN if name in frame])
    if extra.columns.empty:
        return None
    return extra.apply(_as_numbers) if is_csv else extra


def _as_numbers(column: "pd.Series[str]") -> "pd.Series[str]":
    gaps = column.mask(column == "")
    try:
        return pd.to_numeric(gaps)
    except (ValueError, TypeError):
        return gaps
