"""The leaderboard as data: a row per trial and selection rule, and which method is best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, NotRequired, TypedDict, cast, get_type_hints

import pandas as pd

from debias_pipeline.intervals import further_mean
from debias_pipeline.names import DONE, METRICS, NOT_RUN, BiasLabels, Headline, TrialState
from debias_pipeline.published import PublishedAccuracy, comparable_selection, source_in_words
from debias_pipeline.records import DataCard, Metrics, Outcome, OverSeeds, RuleMetrics
from debias_pipeline.reporting.conditions import is_oracle
from debias_pipeline.reporting.metric_table import (
    is_unreliable,
    why_no_checkpoint,
    why_no_value,
)
from debias_pipeline.reporting.recipe_changes import RecipeChange, changes_in_words
from debias_pipeline.reporting.significance import (
    ALPHA,
    CORRECTION,
    TEST,
    Comparison,
    Verdict,
    find_best,
)
from debias_pipeline.reporting.text import known
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule


@dataclass(frozen=True)
class TrialResult:
    """The saved results of a trial of the grid.

    Attributes:
        dataset: name of the data set.
        percent: for example 1pct; "" if the data set has no percents.
        method: name of the method.
        metrics: catalog entry `metrics`; None if the trial failed or was not run.
        outcome: catalog entry `outcome`; None if the trial was not run.
        published: accuracy published in a paper, or None.
        name: name of the data set for people; "" if it is the same as `dataset`.
        data_card: data card of the data set, or None.
        recipe_changes: recipe fields and data options that differ from those in the files.
        bias_labels: which bias labels the method uses.
        network: name of the network and of its initial weights, "" if unknown.
        origin: where a reference result comes from; "" for a trial of the user.
        reference: metrics of a reference with the same recipe, precision and images as this trial
            of the user, or None.
    """

    dataset: str
    percent: str
    method: str
    metrics: Metrics | None = None
    outcome: Outcome | None = None
    published: PublishedAccuracy | None = None
    name: str = ""
    data_card: DataCard | None = None
    recipe_changes: Sequence[RecipeChange] = ()
    bias_labels: BiasLabels = "none"
    network: str = ""
    origin: str = ""
    reference: Metrics | None = None

    @property
    def status(self) -> TrialState:
        """Return how the trial ended."""
        return self.outcome["status"] if self.outcome else NOT_RUN

    @property
    def valid_metrics(self) -> Metrics | None:
        """Return the metrics if the trial is done, else None, as they are from an earlier run."""
        return self.metrics if self.status == DONE else None


class LeaderboardRow(TypedDict):
    """A trial under one selection rule; null is unknown. Accuracies are fractions.

    `protocol` is the key of the selection rule. `mean`, `std` and `per_seed` are those of the
    headline metric, `seeds` belongs to `per_seed`. `published`, its source and the `difference`
    of the measured accuracy from it are given only for the comparable rule. `p_value` is corrected:
    for the method of the highest mean it is the largest of its comparisons, for another method that
    of its comparison with the best. `name` is the data set's name for people, and `percent`
    is empty if it has no percents. `why_missing` says why `mean` is null, `recipe_changes` in what
    the trial differs from the recipe in the project's files; there is no `difference` then.
    A row has further values, see `measured`. `median` is that of the headline
    metric, `collapsed` the seeds that have collapsed; `images_forward` and `images_backward` are
    those of `ImagePasses`. `bias_name` is that of the data card. Leaderboards of earlier versions
    lack these, `bias_labels`, `network` and some measured values. An oracle has no
    `p_value` and is never the best.

    `reference` says where a row that is not a trial of the user comes from. `reproduces` says
    whether the mean of a trial of the user is between `expected_low` and `expected_high`, the
    interval from the reference of the same recipe, see `intervals.further_mean`.
    """

    dataset: str
    name: str
    percent: str
    method: str
    bias_name: NotRequired[str | None]
    bias_labels: NotRequired[BiasLabels]
    network: NotRequired[str | None]
    protocol: str
    leaks: bool
    headline: str | None
    unbiased_test: bool | None
    mean: float | None
    std: float | None
    median: NotRequired[float | None]
    n_seeds: int | None
    seeds: list[int]
    per_seed: list[float | None]
    collapsed: NotRequired[list[int]]
    published: float | None
    published_source: str | None
    difference: float | None
    why_missing: str | None
    recipe_changes: str | None
    is_best: bool
    p_value: float | None
    reliable: bool | None
    seconds: float | None
    peak_memory_bytes: int | None
    images_forward: NotRequired[int | None]
    images_backward: NotRequired[int | None]
    steps: int | None
    precision: str | None
    threads: int | None
    status: TrialState
    error: str | None
    mlflow_run_id: str | None
    mlflow_experiment_id: str | None
    content_hash: str | None
    reference: str | None
    expected_low: float | None
    expected_high: float | None
    reproduces: bool | None


def measured(row: LeaderboardRow, name: str) -> float | None:
    """Return a value that was measured in a trial, such as its `accuracy_mean`; None if unknown.

    Args:
        row: row of the trial.
        name: `<name>_mean` or `_std` for `step`, `support`, `conflict_detection_auroc` and each
            of `METRICS`, see `OverSeeds`; `<metric>_images`, `_low` or `_high` for each of
            `METRICS`, see `Evidence`.
    """
    return cast(Mapping[str, float | None], row).get(name)


def trial_name(row: LeaderboardRow) -> str:
    """Return "2pct disent", or the method of a data set without percents."""
    return f"{row['percent']} {row['method']}".strip()


class BestMethod(TypedDict):
    """The method of the highest mean for a data set, percent and selection rule.

    `is_best` is whether it is significantly better than every other, `against` has a comparison
    with each other method that has values.
    """

    dataset: str
    percent: str
    protocol: str
    best: str
    is_best: bool
    p_value: float | None
    against: list[Comparison]


class SignificanceTest(TypedDict):
    """The test that decides whether a method is marked as best."""

    name: str
    correction: str
    alpha: float


class Leaderboard(TypedDict):
    """The catalog's `leaderboard_json`."""

    test: SignificanceTest
    rows: list[LeaderboardRow]
    comparisons: list[BestMethod]


def rows_by_dataset(leaderboard: Leaderboard) -> dict[str, list[LeaderboardRow]]:
    """Return the rows of a leaderboard by data set, in their order."""
    rows: dict[str, list[LeaderboardRow]] = {}
    for row in leaderboard["rows"]:
        rows.setdefault(row["dataset"], []).append(row)
    return rows


def drawn_rows(leaderboard: Leaderboard) -> dict[str, list[LeaderboardRow]]:
    """Return rows by data set, without the data sets that have no accuracy to draw."""
    return {
        name: rows
        for name, rows in rows_by_dataset(leaderboard).items()
        if any(row["mean"] is not None for row in rows)
    }


def make_leaderboard(trials: Sequence[TrialResult]) -> Leaderboard:
    """Collect the metrics of all trials and find out which method is significantly best.

    Args:
        trials: in the order in which data sets and methods are shown.
    """
    trials = _sorted(trials)
    headlines = {
        trial.dataset: trial.valid_metrics["headline"] for trial in trials if trial.valid_metrics
    }
    rows: list[LeaderboardRow] = []
    comparisons: list[BestMethod] = []
    for dataset, percent in dict.fromkeys((trial.dataset, trial.percent) for trial in trials):
        of_setting = [each for each in trials if (each.dataset, each.percent) == (dataset, percent)]
        for rule in SELECTION_RULES.values():
            of_rule = [_row(trial, rule, headlines.get(dataset)) for trial in of_setting]
            ranked = [row for row in of_rule if not is_oracle(row.get("bias_labels"))]
            verdict = find_best({row["method"]: _by_seed(row) for row in ranked})
            if verdict is not None:
                _mark_best(of_rule, verdict)
                comparisons.append(
                    {
                        "dataset": dataset,
                        "percent": percent,
                        "protocol": rule.key,
                        "best": verdict.best,
                        "is_best": verdict.marked,
                        "p_value": verdict.p_value,
                        "against": list(verdict.comparisons),
                    }
                )
            rows += of_rule
    test: SignificanceTest = {"name": TEST, "correction": CORRECTION, "alpha": ALPHA}
    return {"test": test, "rows": rows, "comparisons": comparisons}


_UNKNOWN: Final[OverSeeds] = {"mean": None, "std": None, "per_seed": []}


def _row(trial: TrialResult, rule: SelectionRule, headline: Headline | None) -> LeaderboardRow:
    outcome: Mapping[str, Any] = trial.outcome or {}
    metrics: Mapping[str, Any] = trial.valid_metrics or {}
    selected = metrics.get("checkpoints", {}).get(rule.key) or {}
    values: OverSeeds = selected.get(headline) or _UNKNOWN
    published = trial.published
    if published is not None and comparable_selection(published) != rule.key:
        published = None
    mean, accuracy = values["mean"], published["accuracy"] if published else None
    is_comparable = mean is not None and accuracy is not None and not trial.recipe_changes
    passes, evidence = outcome.get("image_passes") or {}, selected.get("evidence", {})
    further = {
        **{key: selected.get(key) for key in ("step", "support", *METRICS)},
        "conflict_detection_auroc": metrics.get("conflict_detection_auroc"),
    }
    row = {
        "dataset": trial.dataset,
        "name": trial.name or trial.dataset,
        "percent": trial.percent,
        "method": trial.method,
        "bias_name": metrics.get("bias_name"),
        "bias_labels": trial.bias_labels,
        "network": trial.network or None,
        "protocol": rule.key,
        "leaks": rule.leaks,
        "headline": headline,
        "unbiased_test": metrics.get("unbiased_test"),
        "mean": mean,
        "std": values["std"],
        "median": median(known(values["per_seed"])) if mean is not None else None,
        "n_seeds": len(values["per_seed"]) or None,
        "seeds": _seeds(trial)[: len(values["per_seed"])],
        "per_seed": values["per_seed"],
        "collapsed": metrics.get("collapsed", {}).get(rule.key, []),
        "published": accuracy,
        "published_source": source_in_words(published) if published else None,
        "difference": cast(float, mean) - cast(float, accuracy) if is_comparable else None,
        "why_missing": _why_missing(trial, rule, headline) if mean is None else None,
        "recipe_changes": changes_in_words(trial.recipe_changes) or None,
        "is_best": False,
        "p_value": None,
        "reliable": not is_unreliable(cast(RuleMetrics, selected)) if selected else None,
        **{
            f"{key}_{statistic}": (each or {}).get(statistic)
            for key, each in further.items()
            for statistic in ("mean", "std")
        },
        **{
            f"{key}_{part}": evidence.get(key, {}).get(part)
            for key in METRICS
            for part in ("images", "low", "high")
        },
        "seconds": outcome.get("seconds"),
        "peak_memory_bytes": outcome.get("peak_memory_bytes"),
        "images_forward": passes.get("forward"),
        "images_backward": passes.get("backward"),
        "steps": outcome.get("steps"),
        "precision": outcome.get("precision"),
        "threads": outcome.get("threads"),
        "status": trial.status,
        "error": outcome.get("error"),
        "mlflow_run_id": outcome.get("mlflow_run_id"),
        "mlflow_experiment_id": outcome.get("mlflow_experiment_id"),
        "content_hash": outcome.get("content_hash"),
        "reference": trial.origin or None,
        **_reproduction(trial, rule, headline, values),
    }
    return cast(LeaderboardRow, row)


# Values of the same seeds are the same but for rounding errors.
_ROUNDING: Final = 1e-9


def _reproduction(
    trial: TrialResult, rule: SelectionRule, headline: Headline | None, values: OverSeeds
) -> dict[str, float | bool | None]:
    """Return whether a trial reproduces its reference under a rule, and the interval."""
    unknown = {"expected_low": None, "expected_high": None, "reproduces": None}
    selected = trial.reference["checkpoints"].get(rule.key) if trial.reference else None
    expected = selected.get(headline) if selected and headline else None
    mean, per_seed = values["mean"], expected["per_seed"] if expected else []
    if mean is None or None in per_seed:
        return {**unknown}
    interval = further_mean(known(per_seed), len(values["per_seed"]))
    if interval is None:
        return {**unknown}
    low, high = interval
    return {
        "expected_low": low,
        "expected_high": high,
        "reproduces": low - _ROUNDING <= mean <= high + _ROUNDING,
    }


def _why_missing(trial: TrialResult, rule: SelectionRule, headline: Headline | None) -> str | None:
    metrics, card = trial.valid_metrics, trial.data_card
    if metrics is None or card is None or headline is None:
        return None
    if metrics["checkpoints"].get(rule.key) is None:
        return why_no_checkpoint(metrics, rule, card)
    return f"no value: {why_no_value(headline, card)}"


def _seeds(trial: TrialResult) -> list[int]:
    for record in (trial.valid_metrics, trial.outcome):
        if record and record.get("seeds"):
            return record["seeds"]
    return []


def _by_seed(row: LeaderboardRow) -> dict[tuple[str, int], float]:
    """Return hash of the images, seed → headline metric; empty if it is unknown for a seed.

    A reference on other images has no value that forms a pair with one of the user's trials.
    """
    if row["mean"] is None:
        return {}
    values = zip(row["seeds"], row["per_seed"], strict=True)
    images = row["content_hash"] or ""
    return {(images, seed): value for seed, value in values if value is not None}


def _mark_best(rows: Sequence[LeaderboardRow], verdict: Verdict) -> None:
    p_values = {each["method"]: each["p_corrected"] for each in verdict.comparisons}
    p_values[verdict.best] = verdict.p_value
    for row in rows:
        row["p_value"] = p_values.get(row["method"])
        row["is_best"] = verdict.marked and row["method"] == verdict.best


def _sorted(trials: Iterable[TrialResult]) -> list[TrialResult]:
    """Return trials by data set, percent and method: percents by size, others by first trial.

    Oracles are the last methods.
    """
    trials = list(trials)
    datasets = list(dict.fromkeys(trial.dataset for trial in trials))
    methods = list(dict.fromkeys(trial.method for trial in trials))
    return sorted(
        trials,
        key=lambda trial: (
            datasets.index(trial.dataset),
            _percent_size(trial.percent),
            is_oracle(trial.bias_labels),
            methods.index(trial.method),
        ),
    )


def _percent_size(percent: str) -> tuple[float, str]:
    """Return a sort key: `0.5pct` before `10pct`, and what is not a number last."""
    try:
        return float(percent.removesuffix("pct")), percent
    except ValueError:
        return float("inf"), percent


def leaderboard_frame(leaderboard: Leaderboard) -> pd.DataFrame:
    """Return the rows of a leaderboard as a table.

    Returns:
        The values of `LeaderboardRow`: texts as string, counts as Int64, flags as bool or (if they
        may be unknown) boolean, lists as objects, other numbers as float64 with NaN for unknown.
    """
    types = get_type_hints(LeaderboardRow)
    frame = pd.DataFrame(leaderboard["rows"])

    def type_of(name: str) -> Any:
        # Measured values are not listed in LeaderboardRow.
        measured_type = int | None if name.endswith("_images") else float | None
        return types.get(name, measured_type)

    return frame.astype({str(name): _COLUMN_TYPES[type_of(str(name))] for name in frame})


_COLUMN_TYPES: Final[Mapping[Any, str]] = {
    str: "string",
    str | None: "string",
    TrialState: "string",
    BiasLabels: "string",
    bool: "bool",
    bool | None: "boolean",
    int | None: "Int64",
    float | None: "float64",
    list[int]: "object",
    list[float | None]: "object",
}
