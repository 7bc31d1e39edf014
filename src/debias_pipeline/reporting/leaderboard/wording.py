"""What a leaderboard says of its figures, on the page, in Markdown and in the terminal alike."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from debias_pipeline.reporting.formatting import DASH, mean_and_std, points
from debias_pipeline.reporting.leaderboard.significance import ALPHA
from debias_pipeline.reporting.leaderboard.table import DONE, FAILED, NOT_RUN
from debias_pipeline.reporting.wording import NO_PSEUDO_GROUPS, NO_SELECTION, Metric, metric_of
from debias_pipeline.selection_rules import MIN_SUPPORT

_SETTINGS = ("seeds", "steps", "precision", "threads")


def explain_test(test: Mapping[str, Any]) -> str:
    """Which test decides who is marked.

    Args:
        test: the leaderboard's `test`.
    """
    return (
        f"Marked as best is a method only if it is better than every other beyond noise: a "
        f"{test['name']}, p < {test['alpha']:g} against each of them after {test['correction']}'s "
        "correction for the number of comparisons within a data set, percent and checkpoint. "
        "It needs two seeds at least, and few seeds show large differences only."
    )


def verdict_in_words(comparison: Mapping[str, Any], left_out: Sequence[str] = ()) -> str:
    """What was tested for one percent, in a sentence.

    Args:
        comparison: one of the leaderboard's `comparisons`.
        left_out: methods without figures.
    """
    best, against = comparison["best"], comparison["against"]
    holes = f" Without figures: {', '.join(left_out)}." if left_out else ""
    if not against:
        return f"{best} alone has figures, so there is nothing to compare.{holes}"
    if comparison["is_best"]:
        opening = f"{best} is best beyond noise"
    else:
        opening = f"{best} has the highest mean, but not beyond noise"
    return f"{opening}: {'; '.join(map(_against, against))}.{holes}"


def _against(comparison: Mapping[str, Any]) -> str:
    seeds, difference = comparison["seeds"], comparison["difference"]
    if seeds < 2:
        return f"not tested against {comparison['method']}, fewer than two seeds in common"
    text = f"{points(difference)} points against {comparison['method']} over {seeds} seeds, "
    if comparison["p_value"] is None:
        return text + "the same for each, on which the test has nothing to say"
    return text + f"corrected p {p_in_words(comparison['p_corrected'])}"


def p_in_words(p_value: float) -> str:
    """As "= 0.031" or "< 0.001"; never rounded across the threshold."""
    if p_value < 0.001:
        return "< 0.001"
    text = f"{p_value:.3f}"
    crosses = (float(text) < ALPHA) != (p_value < ALPHA)
    return f"= {p_value:.6g}" if crosses else f"= {text}"


def headline_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Metric, str]:
    """Return the headline metric of a data set, and its name: "Unbiased accuracy".

    Args:
        rows: of the data set; unless `is_unbiased`, the name is "Test accuracy".
    """
    rows = list(rows)
    metric = metric_of(rows[0]["headline"] or "accuracy", is_unbiased(rows))
    return metric, metric.name if metric.name.endswith("accuracy") else f"{metric.name} accuracy"


def is_unbiased(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether all rows that are done, and one at least, have an unbiased test split."""
    rows = list(rows)
    return any(row["unbiased_test"] for row in rows) and not percents_not_unbiased(rows)


def percents_not_unbiased(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the percents of which the test split is not known to be unbiased."""
    done = [row for row in rows if row["status"] == DONE]
    return [*dict.fromkeys(row["percent"] for row in done if not row["unbiased_test"])]


def figure_text(row: Mapping[str, Any]) -> str:
    """Return a row's headline in per cent, "86.1 ± 0.7", "86.1 ± 0.7?" if unreliable, or a dash."""
    text = mean_and_std(row, 100, 1)
    return f"{text}?" if row.get("reliable") is False else text


def unreliable_in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """Say which rows rest on too few conflicting validation images; "" if none does."""
    counts = [
        f"{row['support_mean']:.0f} ({row['percent']} {row['method']})"
        for row in rows
        if row.get("reliable") is False
    ]
    if not counts:
        return ""
    return (
        f"? unreliable: rests on fewer than {MIN_SUPPORT} conflicting validation images for at "
        f"least one seed; mean over seeds: {', '.join(counts)}"
    )


def hole_in_words(row: Mapping[str, Any]) -> str:
    """Why a row has no headline figure, "" if it has one."""
    if row["mean"] is not None:
        return ""
    if row["status"] == FAILED:
        return failure_in_words(row)
    if row["status"] == NOT_RUN:
        return NOT_RUN
    if row["protocol"] == "selected":
        return f"{NO_SELECTION}, and bias-conflicting images there"
    if row["protocol"] == "pseudo_groups":
        return NO_PSEUDO_GROUPS
    return "no figure"


def failure_in_words(row: Mapping[str, Any]) -> str:
    """As "failed: CUDA out of memory"."""
    return f"{FAILED}: {row['error'] or 'for no stated reason'}"


def duration(seconds: float | None) -> str:
    """As "48 s", "12 min 30 s" or "3 h 5 min", or a dash."""
    if seconds is None:
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds >= 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours:,} h {minutes} min"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(size: int | None) -> str:
    """Bytes as "640 MiB" or "1.5 GiB", or a dash."""
    if size is None:
        return DASH
    mebibytes = size / 2**20
    return f"{mebibytes:,.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:,.1f} GiB"


def progress_in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many cells are done, failed, not run, and what they took together."""
    cells = {(row["dataset"], row["percent"], row["method"]): row for row in rows}.values()
    counts = {
        status: sum(row["status"] == status for row in cells) for status in (DONE, FAILED, NOT_RUN)
    }
    parts = [f"{counts[DONE]} of {len(cells)} cells are done"]
    parts += [f"{count} {status}" for status, count in counts.items() if count and status != DONE]
    took = sum(row["seconds"] or 0 for row in cells)
    return f"{', '.join(parts)}; together they took {duration(took)}."


def settings_in_words(rows: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """Return what the cells of a data set have in common, and what to warn of.

    Args:
        rows: of the data set.

    Returns:
        Common settings, "" if there are none; the warning, "" if there is nothing to warn of.
    """
    rows = list(rows)
    done = [row for row in rows if row["status"] == DONE]
    common, different = [], []
    for name in _SETTINGS:
        values = list(dict.fromkeys(_setting(name, row[name]) for row in done if row[name]))
        if len(values) == 1:
            common.append(values[0])
        elif values:
            different.append(f"{name} ({'; '.join(values)})")
    warnings = [f"The cells differ in {', '.join(different)}."] if different else []
    if percents := percents_not_unbiased(rows):
        warnings.append(
            f"The test split ({', '.join(percents)}) is not known to be unbiased: accuracy there "
            "may be flattering."
        )
    return (f"Each cell: {'; '.join(common)}." if common else ""), " ".join(warnings)


def _setting(name: str, value: Any) -> str:
    if name == "seeds":
        return f"seed{'s' if len(value) > 1 else ''} {', '.join(map(str, value))}"
    if name == "precision":
        return str(value)
    return f"{value:,} {name if value != 1 else name.removesuffix('s')}"
