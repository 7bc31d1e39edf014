"""CSV that is safe to open in a spreadsheet.

Spreadsheets treat text that begins with some characters as a formula. Such text gets a leading
apostrophe.
"""

from collections.abc import Callable
from typing import Any, Final

import pandas as pd

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_ESCAPE: Final = "'"


def escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which no text is a formula, including column names."""
    return _map_texts(frame, _escape)


def unescape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the apostrophes of `escape_formulas`."""
    return _map_texts(frame, _unescape)


def csv_text(frame: pd.DataFrame) -> str:
    """Return a table as CSV without its index.

    The byte order mark at the beginning tells spreadsheets that the encoding is UTF-8.
    """
    text: str = escape_formulas(frame).to_csv(index=False, lineterminator="\n")
    return f"\N{ZERO WIDTH NO-BREAK SPACE}{text}"


def _map_texts(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def change_text(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    texts = frame.select_dtypes(exclude="number").columns
    changed = frame.assign(**{name: frame[name].map(change_text) for name in texts})
    return changed.rename(columns=change_text)


def _escape(text: str) -> str:
    return _ESCAPE + text if text.startswith((*_FORMULA, _ESCAPE)) else text


def _unescape(text: str) -> str:
    return (
        text[1:]
        if text.startswith(tuple(_ESCAPE + each for each in (*_FORMULA, _ESCAPE)))
        else text
    )
