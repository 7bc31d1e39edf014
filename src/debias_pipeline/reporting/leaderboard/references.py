"""Reference results on a leaderboard: where they come from, reproductions, places."""

from collections.abc import Iterable, Mapping, Sequence

from debias_pipeline.reporting.conditions import is_oracle
from debias_pipeline.reporting.leaderboard.rows import LeaderboardRow, trial_name
from debias_pipeline.reporting.text import DASH, REFERENCE_MARK, percentage
from debias_pipeline.selection_rules import LAST, SELECTION_RULES


def marked(text: str, row: LeaderboardRow) -> str:
    """Return the text of a table cell, with a mark if the row is a reference."""
    return f"{text}{REFERENCE_MARK}" if row.get("reference") else text


def references_in_words(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Return where the references of a data set come from; trials of one origin share a sentence.

    Args:
        rows: all rows of the data set.
    """
    # Leaderboards of earlier versions have no references.
    images = {
        row["percent"]: row["content_hash"]
        for row in rows
        if row.get("content_hash") and not row["reference"]
    }
    methods: dict[str, dict[str, dict[str, None]]] = {}
    for row in rows:
        if origin := row.get("reference"):
            own = images.get(row["percent"], row["content_hash"])
            other = "" if own == row["content_hash"] else " on other images"
            of_percent = methods.setdefault(origin, {}).setdefault(row["percent"], {})
            of_percent[f"{row['method']}{other}"] = None
    return [
        f"{REFERENCE_MARK} reference, not run here: {_by_percent(of_origin)} ({origin})"
        for origin, of_origin in methods.items()
    ]


def _by_percent(methods: Mapping[str, Iterable[str]]) -> str:
    """Return "vanilla, lff at 1pct; vanilla at 2pct"."""
    return "; ".join(
        f"{', '.join(of_percent)}{f' at {percent}' if percent else ''}"
        for percent, of_percent in methods.items()
    )


def reproductions_in_words(rows: Iterable[LeaderboardRow]) -> list[str]:
    """Return a sentence for each trial of the user that has a reference of the same recipe.

    Args:
        rows: all rows of the data set.
    """
    trials: dict[str, list[LeaderboardRow]] = {}
    for row in rows:
        if row.get("reproduces") is not None:
            trials.setdefault(trial_name(row), []).append(row)
    sentences = []
    for trial, of_trial in trials.items():
        inside = [_in_interval(row) for row in of_trial if row.get("reproduces")]
        outside = [_in_interval(row) for row in of_trial if not row.get("reproduces")]
        if outside:
            but = f"; {', '.join(inside)}: reproduced" if inside else ""
            sentences.append(f"{trial} does not reproduce its reference: {', '.join(outside)}{but}")
        else:
            sentences.append(f"{trial} reproduces its reference: {', '.join(inside)}")
    return sentences


def places_in_words(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Return the places of the user's methods by mean after the last step.

    Oracles have no place. Percents without a reference are left out.

    Args:
        rows: all rows of the data set.
    """
    places: dict[str, list[str]] = {}
    for percent in dict.fromkeys(row["percent"] for row in rows):
        ranked = [
            (row["mean"], row)
            for row in rows
            if row["percent"] == percent
            and row["protocol"] == LAST.key
            and row["mean"] is not None
            and not is_oracle(row.get("bias_labels"))
        ]
        if not any(row.get("reference") for _, row in ranked):
            continue
        at = f" at {percent}" if percent else ""
        for mean, row in ranked:
            if not row["reference"]:
                place = 1 + sum(other > mean for other, _ in ranked)
                places.setdefault(row["method"], []).append(f"{place} of {len(ranked)}{at}")
    return [
        f"Place of {method} by mean, {LAST.name}: {', '.join(of_method)}"
        for method, of_method in places.items()
    ]


def _in_interval(row: LeaderboardRow) -> str:
    low, high = row["expected_low"] or 0.0, row["expected_high"] or 0.0
    where = "in" if row.get("reproduces") else "outside"
    rule = SELECTION_RULES[row["protocol"]].name
    return f"{rule} {percentage(row['mean'])} {where} {100 * low:.1f}{DASH}{100 * high:.1f} %"
