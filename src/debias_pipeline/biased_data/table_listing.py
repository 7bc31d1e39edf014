"""What a user's own folder of images holds, from a table in it."""

import csv
import os
import re
import warnings
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import pandas as pd

from debias_pipeline.biased_data.image_files import is_inside
from debias_pipeline.biased_data.listing import Listing, split_of
from debias_pipeline.errors import UserError

TABLE_SUFFIXES: Final = (".csv", ".parquet")

_NEEDED: Final = ("path", "label")
_KNOWN: Final = (*_NEEDED, "bias", "split")
_SEPARATORS: Final = (",", ";", "\t")
_UPWARDS: Final = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")


def named_table(raw_dir: Path, name: str) -> Path:
    """Find a table by its name in `raw_dir`.

    Raises:
        UserError: if there is no such file, it is no table by name, or lies outside.
    """
    path = raw_dir / name
    if _UPWARDS.search(name) or not is_inside(path, raw_dir):
        raise UserError(f"table={name} leads out of raw_dir: put the table into {raw_dir}.")
    if not path.is_file():
        raise UserError(f"table={name} is no file in {raw_dir}: correct the name.")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(f"table={name} is neither .csv nor .parquet: save it as one of them.")
    return path


def list_table(raw_dir: Path, table: Path) -> Listing:
    """List the images that a table names.

    Args:
        raw_dir: holds the images; paths in the table are relative to it.
        table: CSV in UTF-8 or parquet, by its suffix.

    Raises:
        UserError: if the table can't be read, lacks columns or has no rows.
    """
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
        elif not split_of(text):
            problems.append(f"{row}: split {text!r} is none of train, valid, test")
    return [split_of(text) for text in texts]


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
