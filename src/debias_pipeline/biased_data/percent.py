"""Parse the percentage of bias-conflicting images, written as in published folders: "2pct"."""

import re
from decimal import Decimal, InvalidOperation

from debias_pipeline.errors import UserError

# One spelling per value, because the text names folders and recipes: no leading zeros, no trailing
# zeros after the point.
_CANONICAL = re.compile(r"(0|[1-9][0-9]{0,2})(\.[0-9]{0,11}[1-9])?pct")


def parse_percent(text: object) -> float:
    """Return the fraction that a percentage such as "2pct" or "0.5pct" stands for.

    Args:
        text: as typed by the user; it may be a number, since YAML reads 2 as one.

    Returns:
        A fraction in 0..1: 0.02 for "2pct".

    Raises:
        UserError: if it is written differently, or the value is not in 0..100.
    """
    if not isinstance(text, str) or not _CANONICAL.fullmatch(text):
        raise _error(text)
    value = Decimal(text.removesuffix("pct"))
    if value > 100:
        raise _error(text)
    return float(value / 100)


def _error(text: object) -> UserError:
    guess = _guess(text)
    hint = (
        f"write {guess}" if guess else "write a number from 0 to 100 and pct, as in 2pct or 0.5pct"
    )
    return UserError(f"percent={text!r} is not a percentage; {hint}.")


def _guess(text: object) -> str | None:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    number = re.sub(r"\s*(pct|percent|%)\s*$", "", str(text).strip(), flags=re.IGNORECASE)
    try:
        value = Decimal(number)
    except InvalidOperation:
        return None
    if not value.is_finite() or not 0 <= value <= 100:
        return None
    digits = f"{value:f}"
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    guess = f"{digits.lstrip('-').lstrip('0') or '0'}pct"
    guess = f"0{guess}" if guess.startswith(".") else guess
    return guess if _CANONICAL.fullmatch(guess) else None
