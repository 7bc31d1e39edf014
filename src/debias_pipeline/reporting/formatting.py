"""Numbers as people read them."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def known(value: Any) -> float | None:
    """The value as a float, or None for null, NA and NaN."""
    if value is None or pd.isna(value) or not math.isfinite(value):
        return None
    return float(value)


def percentage(fraction: float | None, digits: int = 1) -> str:
    """A fraction in 0..1 as "86.1 %", or a dash."""
    if known(fraction) is None or fraction is None:
        return DASH
    return f"{100 * fraction:.{digits}f} %"


def mean_and_std(summary: Mapping[str, Any] | None, scale: float, digits: int) -> str:
    """Mean ± standard deviation over seeds, the mean alone for one seed, or a dash.

    Args:
        summary: {"mean", "std", "per_seed"}, each null where unknown.
        scale: what to multiply by: 100 turns fractions into per cent.
        digits: after the point.
    """
    mean = known(summary["mean"]) if summary else None
    if summary is None or mean is None:
        return DASH
    std = known(summary.get("std"))
    text = f"{scale * mean:.{digits}f}"
    return text if std is None else f"{text} ± {scale * std:.{digits}f}"


def percentage_over_seeds(summary: Mapping[str, Any] | None) -> str:
    """A summary of fractions as "86.1 ± 0.7 %", "86.1 %" for one seed, or a dash."""
    text = mean_and_std(summary, 100, 1)
    return text if text == DASH else f"{text} %"


def steps_over_seeds(summary: Mapping[str, Any] | None) -> str:
    """A summary of steps as "4,000", or "2,500–4,000" where the seeds differ, or a dash."""
    if not summary:
        return DASH
    steps = [step for step in map(known, summary["per_seed"]) if step is not None]
    if not steps:
        return DASH
    low, high = min(steps), max(steps)
    return f"{low:,.0f}" if low == high else f"{low:,.0f}{DASH}{high:,.0f}"


def seed_values(summary: Mapping[str, Any] | None) -> str:
    """Every seed's fraction: "85.6 %, 86.9 %"."""
    return ", ".join(percentage(known(value)) for value in summary["per_seed"]) if summary else ""


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, signed: "+34.9" or "−0.4"."""
    rounded = round(100 * difference, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{abs(rounded):.1f}"
