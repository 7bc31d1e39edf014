"""CSV that is safe to open in a spreadsheet.

Spreadsheets treat text that begins with some characters as a formula. Such text gets a leading
apostrophe.
"""

from collections.abc import Callable
from typing import Any, Final

import pandas as pd

_ESCAPE: Final = "'"
# Text that begins with them is escaped, so that each text can be told from an escaped one.
_ESCAPED: Final = ("=", "+", "-", "@", "\t", "\r", _ESCAPE)


def escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which no text is a formula, including column names."""
    return _map_texts(frame, _escape, _ESCAPED)


def unescape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the apostrophes of `escape_formulas`."""
    return _map_texts(frame, _unescape, tuple(_ESCAPE + each for each in _ESCAPED))


def csv_text(frame: pd.DataFrame) -> str:
    """Return a table as CSV without its index.

    Text that a spreadsheet would run as a formula is preceded by an apostrophe, see
    `escape_formulas`. The byte order mark at the beginning tells spreadsheets that the encoding is
    UTF-8.
    """
    text: str = escape_formulas(frame).to_csv(index=False, lineterminator="\n")
    return f"\N{ZERO WIDTH NO-BREAK SPACE}{text}"


def _map_texts(
    frame: pd.DataFrame, change: Callable[[str], str], prefixes: tuple[str, ...]
) -> pd.DataFrame:
    """Apply `change` to the texts and column names that begin with one of the prefixes."""

    def change_text(value: Any) -> Any:
        return change(value) if isinstance(value, str) and value.startswith(prefixes) else value

    def change_column(column: "pd.Series[Any]") -> "pd.Series[Any]":
        if not isinstance(column.dtype, pd.StringDtype):
            return column.map(change_text)
        # Most texts stay as they are, and a call for each takes long.
        chosen = column.str.startswith(prefixes, na=False)
        return column.mask(chosen, column[chosen].map(change)) if chosen.any() else column

    texts = frame.select_dtypes(exclude=["number", "bool", "boolean"]).columns
    changed = frame.assign(**{name: change_column(frame[name]) for name in texts})
    return changed.rename(columns=change_text)


def _escape(text: str) -> str:
    return _ESCAPE + text


def _unescape(text: str) -> str:
    return text[1:]
