"""List the images that a table names."""

import csv
import gzip
import os
import re
import unicodedata
import warnings
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd

from debias_pipeline.biased_data.attributes import NAME_PATTERN
from debias_pipeline.biased_data.folder.listing import Listing, splits_of
from debias_pipeline.biased_data.manifest import is_relative
from debias_pipeline.biased_data.sources.raw_dir import is_inside
from debias_pipeline.errors import UserError, printable

TEXT_TABLES: Final = (".csv", ".tsv", ".csv.gz", ".tsv.gz")

_PARQUET: Final = ".parquet"
_TABLES: Final = (*TEXT_TABLES, _PARQUET)
_OTHER_TABLES: Final = (
    *(".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"),
    *(".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz"),
    *(".csv.zip", ".csv.bz2", ".csv.xz", ".csv.zst", ".tsv.zip", ".tsv.bz2", ".tsv.xz", ".tab"),
    *(".feather", ".arrow", ".pkl", ".pickle"),
)
_REQUIRED: Final = ("path", "label")
_KNOWN: Final = (*_REQUIRED, "bias", "split")
_ATTRIBUTE: Final = re.compile(f"bias_({NAME_PATTERN})")
# Columns of metadata.csv as WILDS and SubpopBench write it.
_METADATA: Final = {"img_filename": "path", "filename": "path", "y": "label"}
_METADATA_BIAS: Final = ("place", "a")
_SPLIT_NUMBERS: Final = {"0": "train", "1": "valid", "2": "test"}
_SEPARATORS: Final = (",", ";", "\t")
# Text of a number that reads the same after conversion; 007 and 1e5 do not.
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def find_tables(raw_dir: Path) -> tuple[list[str], list[str]]:
    """Return the names of the tables in a folder, and of tables of a kind that is not read."""
    # Spreadsheet programs keep a file ~$… next to an open table.
    names = sorted(
        path.name
        for path in raw_dir.iterdir()
        if path.is_file() and not path.name.startswith((".", "~$"))
    )
    return (
        [name for name in names if name.lower().endswith(_TABLES)],
        [name for name in names if name.lower().endswith(_OTHER_TABLES)],
    )


def named_table(raw_dir: Path, name: str) -> Path:
    """Return the path of a table in `raw_dir`.

    Raises:
        UserError: if the file does not exist, is of a kind that is not read, or is outside
            `raw_dir`.
    """
    path = raw_dir / (find_file(raw_dir, name) or name)
    if not is_relative(name) or not is_inside(path, raw_dir):
        raise UserError(f"table={name} leads out of raw_dir; move the table to {raw_dir}.")
    if not path.is_file():
        raise UserError(f"table={name} is not a file in {raw_dir}; correct the name.")
    if not path.name.lower().endswith(_TABLES):
        raise UserError(
            f"table={name} is none of {', '.join(_TABLES)}; save it as one of them, e.g. as CSV "
            f"UTF-8."
        )
    return path


def find_file(folder: Path, name: str) -> PurePosixPath | None:
    """Return a relative path as it is on disk, or None if there is no such file.

    Separators may be those of Windows. Accented letters may be composed (NFC) in the name and
    decomposed (NFD) on disk, or the reverse: file systems differ.
    """
    for text in dict.fromkeys((name, name.replace("\\", "/"))):
        found = PurePosixPath()
        for part in PurePosixPath(text).parts:
            forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
            places = (found / form for form in forms)
            exact = next((each for each in places if os.path.lexists(folder / each)), None)
            if exact is None:
                break
            found = exact
        else:
            return found
    return None


def list_table(raw_dir: Path, table: Path) -> Listing:
    """List the images that a table names.

    Args:
        raw_dir: folder of the images; paths in the table are relative to it.
        table: CSV or TSV in UTF-8, also compressed by gzip, or parquet.

    Raises:
        UserError: if the table cannot be read, or has missing or unclear columns or no rows.
    """
    is_csv = table.suffix.lower() != _PARQUET
    frame = read_csv(table) if is_csv else _read_parquet(table)
    frame.columns = [str(name).strip() for name in frame.columns]
    notes: list[str] = []
    frame = _with_known_names(table, frame, notes)
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
    attributes = {
        found[1]: _texts(frame, name).tolist()
        for name in map(str, frame)
        if (found := _ATTRIBUTE.fullmatch(name))
    }
    problems: list[str] = []
    source = _sources(rows, texts["path"].tolist(), raw_dir, problems)
    return Listing(
        where=table,
        is_table=True,
        rows=[
            f"{row} ({printable(place)})" if place else row
            for row, place in zip(rows, source, strict=True)
        ],
        path=[raw_dir / place for place in source],
        source=source,
        label=_labels(rows, texts["label"].tolist(), problems),
        bias=texts["bias"].tolist(),
        attributes=attributes,
        split=_splits(rows, texts["split"].tolist(), problems, notes),
        extra=_extra(frame.drop(columns=[f"bias_{name}" for name in attributes]), is_csv),
        problems=problems,
        notes=notes,
    )


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file with all values as text, including empty lines.

    The separator is a comma, a semicolon or a tab; the file may be compressed by gzip.

    Raises:
        UserError: if it cannot be read, is not CSV in UTF-8, or has two columns of one name.
    """
    try:
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            header = file.readline()
        separator = max(_SEPARATORS, key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        # pandas would rename the second one.
        _check_distinct(path, [name for name in names if name])
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
                compression="gzip" if opened is gzip.open else None,
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
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a valid gzip file ({error}); compress it again.") from error
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


def _with_known_names(table: Path, frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Rename the columns of a metadata.csv of WILDS or SubpopBench to path, label and bias.

    Args:
        table: for the message.
        frame: the table.
        notes: a sentence about the renamed columns is appended.

    Raises:
        UserError: if two columns may be the bias.
    """
    columns = set(frame.columns)
    names = {old: new for old, new in _METADATA.items() if old in columns}
    if columns & {*_REQUIRED} or sorted(names.values()) != ["label", "path"]:
        return frame
    biases = [name for name in _METADATA_BIAS if name in columns and "bias" not in columns]
    if len(biases) > 1:
        raise UserError(
            f"{table} has the columns {' and '.join(biases)}, and either may be the bias; rename "
            f"that column to bias."
        )
    names |= dict.fromkeys(biases, "bias")
    read = ", ".join(f"{new} is {old}" for old, new in names.items())
    notes.append(f"read as metadata of WILDS or SubpopBench: {read}")
    return frame.rename(columns=names)


def _check_columns(table: Path, frame: pd.DataFrame) -> None:
    columns = list(frame.columns)
    present = f"it has {', '.join(map(repr, columns)) or 'none'}"
    if any(name not in columns for name in _REQUIRED):
        missing = " and ".join(name for name in _REQUIRED if name not in columns)
        raise UserError(f"{table} has no column {missing}, {present}; {_columns()}.")
    _check_distinct(table, columns)


def _check_distinct(table: Path, columns: list[str]) -> None:
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
    shown = printable(text)
    if not is_relative(text):
        problem = f"{shown} leads out of raw_dir; write it relative to raw_dir, without .."
        return PurePosixPath(text), problem
    place = find_file(raw_dir, text)
    if place is None:
        # It is found missing when it is opened, since skip_bad can go on without it.
        return PurePosixPath(text.replace("\\", "/")), None
    return place, None if is_inside(raw_dir / place, raw_dir) else f"{shown} leads out of raw_dir"


def _labels(rows: list[str], texts: list[str], problems: list[str]) -> list[str]:
    problems.extend(f"{row}: no label" for row, text in zip(rows, texts, strict=True) if not text)
    return texts


def _splits(rows: list[str], texts: list[str], problems: list[str], notes: list[str]) -> list[str]:
    values = {text for text in texts if text}
    if not values:
        return texts
    numbers = {text: text.removesuffix(".0") for text in values}
    if {*numbers.values()} == {*_SPLIT_NUMBERS}:
        notes.append("split 0, 1, 2 is read as train, valid, test, as WILDS writes it")
        read = {text: _SPLIT_NUMBERS[number] for text, number in numbers.items()}
    elif all(number.lstrip("-").isdecimal() for number in numbers.values()):
        problems.append(
            f"the split column: {', '.join(sorted(values)[:3])} are unclear, as only 0, 1 and 2 "
            f"together mean train, valid, test; write train, valid, test"
        )
        return [""] * len(texts)
    else:
        read = splits_of(values)
    for row, text in zip(rows, texts, strict=True):
        if not text:
            problems.append(f"{row}: no split, but other rows have one")
        elif not read[text]:
            problems.append(f"{row}: split {text!r} is not train, valid or test")
    return [read.get(text, "") for text in texts]


def _extra(frame: pd.DataFrame, is_csv: bool) -> pd.DataFrame | None:
    extra = frame.drop(columns=[name for name in _KNOWN if name in frame])
    if extra.columns.empty:
        return None
    return extra.apply(_as_numbers) if is_csv else extra


def _as_numbers(column: "pd.Series[str]") -> "pd.Series[Any]":
    """Convert a column of text to numbers if their text would be the same, else leave it.

    Empty text becomes a missing value.
    """
    gaps = column.mask(column == "")
    present = gaps.dropna()
    if present.empty or not present.str.fullmatch(_NUMBER).all():
        return gaps
    numbers = pd.to_numeric(present)
    # Numbers beyond 64 bits are objects, which parquet does not store.
    if numbers.dtype.name not in ("int64", "float64") or numbers.astype(str).ne(present).any():
        return gaps
    # With gaps, whole numbers would become floats.
    has_gaps = len(present) < len(gaps) and numbers.dtype.name == "int64"
    return (numbers.astype("Int64") if has_gaps else numbers).reindex(column.index)
