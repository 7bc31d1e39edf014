"""The leaderboard as data: from every cell's metrics to rows and comparisons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from debias_pipeline.published import PublishedAccuracy, comparable_selection, source_in_words
from debias_pipeline.reporting.formatting import known
from debias_pipeline.reporting.leaderboard.significance import (
    ALPHA,
    CORRECTION,
    TEST,
    Verdict,
    find_best,
)
from debias_pipeline.reporting.wording import METRICS, is_unreliable
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule

NOT_RUN, DONE, FAILED = "not run", "done", "failed"

_TEXTS = (
    *("dataset", "percent", "method", "protocol", "headline", "status", "error", "precision"),
    *("mlflow_run_id", "mlflow_experiment_id", "published_source"),
)
_COUNTS = ("n_seeds", "steps", "peak_memory_bytes", "threads")
_FLAGS = ("leaks", "is_best")
_FLAGS_OR_NULL = ("unbiased_test", "reliable")
_LISTS = ("seeds", "per_seed")


@dataclass(frozen=True)
class CellResult:
    """What there is of one cell of the grid.

    Attributes:
        dataset: name of the data set.
        percent: such as 1pct.
        method: name of the method.
        metrics: the catalog's `metrics`; None where the cell failed or was not run.
        outcome: how the cell ended; None where it was not run.
        published: an accuracy of a paper, if there is one.
    """

    dataset: str
    percent: str
    method: str
    metrics: Mapping[str, Any] | None = None
    outcome: Mapping[str, Any] | None = None
    published: PublishedAccuracy | None = None

    @property
    def status(self) -> str:
        """`done`, `failed` or `not run`."""
        return str(self.outcome["status"]) if self.outcome else NOT_RUN

    @property
    def figures(self) -> Mapping[str, Any] | None:
        """The metrics if they are those of a cell that ended well."""
        return self.metrics if self.status == DONE else None


def make_leaderboard(cells: Sequence[CellResult]) -> dict[str, Any]:
    """Put every cell's figures side by side and find who is best beyond noise.

    Args:
        cells: of the grid, in the order in which methods and data sets are to be shown.

    Returns:
        Plain values, fit for JSON: `test` (name, correction, alpha), `rows`, one per cell and
        protocol, and `comparisons`, one per data set, percent and protocol that has figures.
        A row's `published`, `published_source` and `difference` are given only for the protocol
        that the published accuracy compares with. Its `p_value` is, for the method of the highest
        mean, the largest of its comparisons, and for another method that of its comparison with
        the best; all corrected. What is unknown is None.
    """
    cells = in_order(cells)
    headlines = {cell.dataset: cell.figures["headline"] for cell in cells if cell.figures}
    rows = []
    comparisons = []
    for dataset, percent in dict.fromkeys((cell.dataset, cell.percent) for cell in cells):
        group = [cell for cell in cells if (cell.dataset, cell.percent) == (dataset, percent)]
        for protocol in SELECTION_RULES.values():
            of_protocol = [_row(cell, protocol, headlines.get(dataset)) for cell in group]
            verdict = find_best({row["method"]: _by_seed(row) for row in of_protocol})
            if verdict is not None:
                _judge(of_protocol, verdict)
                place = {"dataset": dataset, "percent": percent, "protocol": protocol.key}
                comparisons.append({**place, **_plain_verdict(verdict)})
            rows += of_protocol
    test = {"name": TEST, "correction": CORRECTION, "alpha": ALPHA}
    return {"test": test, "rows": rows, "comparisons": comparisons}


def leaderboard_frame(leaderboard: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a leaderboard as a table.

    Args:
        leaderboard: from `make_leaderboard`.

    Returns:
        A row per cell and protocol: texts as string, counts as Int64, flags as bool or (if they
        may be unknown) boolean, `seeds` and `per_seed` as lists, everything else as float64 with
        NaN where unknown.
    """
    frame = pd.DataFrame(leaderboard["rows"])
    kinds = {
        **dict.fromkeys(_TEXTS, "string"),
        **dict.fromkeys(_COUNTS, "Int64"),
        **dict.fromkeys(_FLAGS, "bool"),
        **dict.fromkeys(_FLAGS_OR_NULL, "boolean"),
        **dict.fromkeys(_LISTS, "object"),
    }
    return frame.astype({str(name): kinds.get(str(name), "float64") for name in frame})


def in_order(cells: Iterable[CellResult]) -> list[CellResult]:
    """Cells by data set, percent and method; percents by size, the others as they first come."""
    cells = list(cells)
    datasets = list(dict.fromkeys(cell.dataset for cell in cells))
    methods = list(dict.fromkeys(cell.method for cell in cells))
    return sorted(
        cells,
        key=lambda cell: (
            datasets.index(cell.dataset),
            percent_size(cell.percent),
            methods.index(cell.method),
        ),
    )


def percent_size(percent: str) -> tuple[float, str]:
    """What percents are sorted by: `0.5pct` before `10pct`; what is no number comes last."""
    try:
        return float(percent.removesuffix("pct")), percent
    except ValueError:
        return float("inf"), percent


def _row(cell: CellResult, protocol: SelectionRule, headline: str | None) -> dict[str, Any]:
    outcome = cell.outcome or {}
    checkpoint = cell.figures["checkpoints"].get(protocol.key) if cell.figures else None
    scores = _summary(checkpoint, headline)
    published = cell.published
    if published is not None and comparable_selection(published) != protocol.key:
        published = None
    accuracy = None if published is None else published["accuracy"]
    mean = known(scores["mean"])
    row = {
        "dataset": cell.dataset,
        "percent": cell.percent,
        "method": cell.method,
        "protocol": protocol.key,
        "leaks": protocol.leaks,
        "headline": headline,
        "unbiased_test": cell.figures.get("unbiased_test") if cell.figures else None,
        "mean": mean,
        "std": known(scores["std"]),
        "n_seeds": len(scores["per_seed"]) or None,
        "seeds": _seeds(cell)[: len(scores["per_seed"])],
        "per_seed": [known(value) for value in scores["per_seed"]],
        "published": accuracy,
        "published_source": None if published is None else source_in_words(published),
        "difference": None if mean is None or accuracy is None else mean - accuracy,
        "is_best": False,
        "p_value": None,
        "reliable": None if checkpoint is None else not is_unreliable(checkpoint),
    }
    for name in ("step", "support", *(metric.key for metric in METRICS)):
        summary = _summary(checkpoint, name)
        row[f"{name}_mean"], row[f"{name}_std"] = known(summary["mean"]), known(summary["std"])
    auroc = _summary(cell.figures, "conflict_detection_auroc")
    row["conflict_detection_auroc_mean"] = known(auroc["mean"])
    row["conflict_detection_auroc_std"] = known(auroc["std"])
    for name in ("seconds", "peak_memory_bytes", "steps", "precision", "threads"):
        row[name] = outcome.get(name)
    row["status"], row["error"] = cell.status, outcome.get("error")
    for name in ("mlflow_run_id", "mlflow_experiment_id"):
        row[name] = outcome.get(name)
    return row


def _summary(figures: Mapping[str, Any] | None, name: str | None) -> Mapping[str, Any]:
    summary = figures.get(name) if figures and name else None
    return summary or {"mean": None, "std": None, "per_seed": []}


def _seeds(cell: CellResult) -> list[int]:
    named = (cell.figures or {}).get("seeds") or (cell.outcome or {}).get("seeds") or []
    return [int(seed) for seed in named]


def _by_seed(row: Mapping[str, Any]) -> dict[int, float]:
    """A seed without a figure leaves no mean to rank by, so the method has none at all."""
    if row["mean"] is None:
        return {}
    return dict(zip(row["seeds"], row["per_seed"], strict=True))


def _judge(rows: Sequence[dict[str, Any]], verdict: Verdict) -> None:
    p_values = {each.method: each.p_corrected for each in verdict.comparisons}
    p_values[verdict.best] = verdict.p_value
    for row in rows:
        row["p_value"] = p_values.get(row["method"])
        row["is_best"] = verdict.marked and row["method"] == verdict.best


def _plain_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "best": verdict.best,
        "is_best": verdict.marked,
        "p_value": verdict.p_value,
        "against": [asdict(each) for each in verdict.comparisons],
    }
