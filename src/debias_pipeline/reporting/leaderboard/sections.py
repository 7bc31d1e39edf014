"""A leaderboard by data set and selection rule, with the sentences about it.

The HTML page, Markdown and the terminal show the same sections.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from debias_pipeline.names import DONE, FAILED, NOT_RUN
from debias_pipeline.published import sources_by_method
from debias_pipeline.records import Evidence, ImagePasses, OverSeeds
from debias_pipeline.reporting.conditions import bias_labels_text, collapsed_text, is_oracle
from debias_pipeline.reporting.leaderboard.references import (
    marked,
    places_in_words,
    references_in_words,
    reproductions_in_words,
)
from debias_pipeline.reporting.leaderboard.rows import (
    BestMethod,
    Leaderboard,
    LeaderboardRow,
    SignificanceTest,
    measured,
    rows_by_dataset,
    trial_name,
)
from debias_pipeline.reporting.metric_table import (
    MetricText,
    metric_text,
    support_name,
)
from debias_pipeline.reporting.pages.page import recipe_sentences
from debias_pipeline.reporting.significance import verdict_in_words
from debias_pipeline.reporting.text import (
    FEW_IMAGES,
    counted,
    duration,
    evidence_text,
    mean_and_std,
)
from debias_pipeline.selection_rules import (
    LAST,
    MIN_SUPPORT,
    SELECTION_RULES,
    SelectionRule,
)


@dataclass(frozen=True)
class RuleTable:
    """Methods by percents under one selection rule.

    Attributes:
        rule: the selection rule.
        rows: method and its row at each percent of the section, None if the grid has no such trial.
        tested: percent and a sentence about the significance tests there.
        unreliable: a sentence about unreliable rows, "" if there are none.
        collapsed: a sentence about seeds that collapsed, "" if there are none.
        oracles: the methods of `rows` that are oracles; their rows are the last ones.
        sources: sources of the published accuracies in the table.
    """

    rule: SelectionRule
    rows: Sequence[tuple[str, Sequence[LeaderboardRow | None]]]
    tested: Sequence[tuple[str, str]]
    unreliable: str
    collapsed: str
    oracles: Sequence[str]
    sources: Sequence[str]


@dataclass(frozen=True)
class Section:
    """The trials of one data set.

    Attributes:
        dataset: name of the data set.
        name: its name for people.
        finding: the methods of the highest mean after the last step; "" if there are no values.
        headline: the metric that published tables quote.
        headline_name: its name, for example "Unbiased accuracy".
        unbiased_test: whether accuracy may be called unbiased.
        percents: in ascending order.
        tables: one per selection rule.
        settings: what all trials have in common, in words.
        warning: settings that should not differ; whether the test split may be biased; or "".
        few_images: how many images the headline metric rests on, if few; or "".
        recipe_banner: sentences about trials with another recipe than that in the project's files.
        progress: how many trials are done, and how long they took.
        failures: sentences.
        references: sentences about reference results, and about trials that have one.
        places: sentences about the place of the user's methods among references.
    """

    dataset: str
    name: str
    finding: str
    headline: MetricText
    headline_name: str
    unbiased_test: bool
    percents: Sequence[str]
    tables: Sequence[RuleTable]
    settings: str
    warning: str
    few_images: str
    recipe_banner: Sequence[str]
    progress: str
    failures: Sequence[str]
    references: Sequence[str]
    places: Sequence[str]


def sections(leaderboard: Leaderboard) -> list[Section]:
    """Return a section for each data set of a leaderboard."""
    return [
        _section(rows, [each for each in leaderboard["comparisons"] if each["dataset"] == dataset])
        for dataset, rows in rows_by_dataset(leaderboard).items()
    ]


def _section(rows: Sequence[LeaderboardRow], comparisons: Sequence[BestMethod]) -> Section:
    percents = list(dict.fromkeys(row["percent"] for row in rows))
    headline, headline_name = headline_of(rows)
    settings, warning = _settings_in_words(rows)
    return Section(
        dataset=rows[0]["dataset"],
        name=rows[0]["name"],
        finding=_finding(rows, comparisons, headline_name),
        headline=headline,
        headline_name=headline_name,
        unbiased_test=_is_unbiased(rows),
        percents=percents,
        tables=[_table(rows, comparisons, percents, rule) for rule in SELECTION_RULES.values()],
        settings=settings,
        warning=warning,
        few_images=_few_images_in_words(rows, headline, headline_name),
        recipe_banner=_recipe_banner(rows),
        progress=progress_in_words(rows),
        failures=_failures_in_words(rows),
        references=[*references_in_words(rows), *reproductions_in_words(rows)],
        places=places_in_words(rows),
    )


def _table(
    rows: Sequence[LeaderboardRow],
    comparisons: Sequence[BestMethod],
    percents: Sequence[str],
    rule: SelectionRule,
) -> RuleTable:
    rows = [row for row in rows if row["protocol"] == rule.key]
    by_place = {(row["method"], row["percent"]): row for row in rows}
    methods = dict.fromkeys(row["method"] for row in rows)
    return RuleTable(
        rule=rule,
        rows=[(name, [by_place.get((name, each)) for each in percents]) for name in methods],
        tested=[
            (each["percent"], _test_in_words(each, rows))
            for each in comparisons
            if each["protocol"] == rule.key
        ],
        unreliable=_unreliable_in_words(rows, support_name(rule)),
        collapsed=_collapsed_in_words(rows),
        oracles=list(dict.fromkeys(row["method"] for row in rows if is_oracle_row(row))),
        sources=sources_by_method(
            (name, source)
            for name in methods
            for percent in percents
            if (row := by_place.get((name, percent))) and (source := row["published_source"])
        ),
    )


def _finding(
    rows: Sequence[LeaderboardRow], comparisons: Sequence[BestMethod], headline_name: str
) -> str:
    """Return which method has the highest mean at each percent after the last step."""
    best_of = {each["percent"]: each for each in comparisons if each["protocol"] == LAST.key}
    parts = []
    for row in rows:
        best = best_of.get(row["percent"])
        if best is None or (row["protocol"], row["method"]) != (LAST.key, best["best"]):
            continue
        against = "every other method" if len(best["against"]) > 1 else "the only other method"
        verdict = f"{'' if best['is_best'] else 'not '}significantly better than {against}"
        reference = "reference, " if row.get("reference") else ""
        at = f" at {row['percent']}" if row["percent"] else ""
        parts.append(
            f"{row['method']} with {mean_and_std(row['mean'], row['std'])} %{at} "
            f"({reference}{verdict if best['against'] else 'no other method has a value'})"
        )
    if not parts:
        return ""
    left_out = any(is_oracle_row(row) and row["mean"] is not None for row in rows)
    oracles = ", oracles left out" if left_out else ""
    return f"Highest mean {headline_name.lower()} after the last step{oracles}: {'; '.join(parts)}."


# --- About a row ----------------------------------------------------------------------------------


def accuracy_text(row: LeaderboardRow) -> str:
    """Return the headline metric in per cent, or a dash.

    It has a question mark if it is unreliable, an exclamation mark if a seed collapsed, and the
    mark of references.
    """
    unreliable = "?" if row.get("reliable") is False else ""
    collapsed = "!" if row.get("collapsed") else ""
    return marked(f"{mean_and_std(row['mean'], row['std'])}{unreliable}{collapsed}", row)


def published_text(row: LeaderboardRow) -> str:
    """Return the published accuracy of a row in per cent, "" if there is none."""
    return "" if row["published"] is None else f"{100 * row['published']:.2f}"


def is_oracle_row(row: LeaderboardRow) -> bool:
    """Return whether a row is that of an oracle."""
    return is_oracle(row.get("bias_labels"))


def passes_of(row: LeaderboardRow) -> ImagePasses | None:
    """Return the images that passed through networks in the training of a row, if recorded."""
    forward, backward = row.get("images_forward"), row.get("images_backward")
    if forward is None or backward is None:
        return None
    return {"forward": forward, "backward": backward}


def why_missing(row: LeaderboardRow) -> str:
    """Return why a row has no value of the headline metric."""
    if row["status"] == FAILED:
        return f"{FAILED}: {row['error'] or 'for no stated reason'}"
    if row["status"] == NOT_RUN:
        return NOT_RUN
    return row["why_missing"] or "no value"


def headline_evidence(row: LeaderboardRow, metric: str) -> str:
    """Return "2 of 2; 34–100 %" for a metric of a row that rests on few images, else "".

    Args:
        row: a row with values.
        metric: key of the metric.
    """
    images, low, high, mean = (
        measured(row, f"{metric}_{part}") for part in ("images", "low", "high", "mean")
    )
    if images is None or low is None or high is None or mean is None:
        return ""
    evidence: Evidence = {"images": int(images), "low": low, "high": high}
    # Only their number is used: one value per seed.
    over_seeds: OverSeeds = {"mean": mean, "std": None, "per_seed": row["per_seed"]}
    return evidence_text(metric, over_seeds, evidence)


def percent_name(percent: str) -> str:
    """Return a percent for the head of a column; data sets without percents have one column."""
    return percent or "all images"


# --- About the rows of a data set -----------------------------------------------------------------


def headline_of(rows: Sequence[LeaderboardRow]) -> tuple[MetricText, str]:
    """Return a data set's headline metric, and its name as sentences use it.

    The name is, for example, "Unbiased accuracy".

    Args:
        rows: all rows of the data set.
    """
    metric = metric_text(rows[0]["headline"] or "accuracy", _is_unbiased(rows))
    return metric, metric.accuracy_name


def progress_in_words(rows: Iterable[LeaderboardRow]) -> str:
    """Return how many trials are done, failed and not run, and how long they took.

    References are counted separately.
    """
    all_trials = {(row["dataset"], trial_name(row)): row for row in rows}.values()
    trials = [row for row in all_trials if not row.get("reference")]
    counts = {
        status: sum(row["status"] == status for row in trials) for status in (DONE, FAILED, NOT_RUN)
    }
    parts = [f"{counts[DONE]} of {len(trials)} trials are done"]
    parts += [f"{count} {status}" for status, count in counts.items() if count and status != DONE]
    if references := len(all_trials) - len(trials):
        parts.append(f"{counted(references, 'reference')} shown for comparison")
    took = sum(row["seconds"] or 0 for row in trials)
    return f"{', '.join(parts)}; together they took {duration(took)}."


def _failures_in_words(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Return a sentence for each error, with the trials that failed with it."""
    trials: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["status"] == FAILED:
            trials.setdefault(why_missing(row), {})[trial_name(row)] = None
    return [f"{', '.join(failed)} {failure}" for failure, failed in trials.items()]


def _few_images_in_words(
    rows: Sequence[LeaderboardRow], headline: MetricText, headline_name: str
) -> str:
    counts = {measured(row, f"{headline.key}_images") for row in rows}
    few = sorted(count for count in counts if count is not None and count < FEW_IMAGES)
    if not few:
        return ""
    images = " to ".join(f"{count:,}" for count in dict.fromkeys((few[0], few[-1])))
    return (
        f"{headline_name} rests on only {images} test image{'' if few[-1] == 1 else 's'}, so that "
        "chance in the choice matters; the page has 95 % intervals."
    )


def _recipe_banner(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Return a sentence for each recipe that differs from the one in the project's files."""
    published = {trial_name(row) for row in rows if row["published"] is not None}
    trials = {trial_name(row): row["recipe_changes"] or "" for row in rows if row["status"] == DONE}
    return recipe_sentences((name, changed, name in published) for name, changed in trials.items())


def _is_unbiased(rows: Sequence[LeaderboardRow]) -> bool:
    """Return whether the test split is unbiased in all trials that are done, at least one."""
    done = [row["unbiased_test"] for row in rows if row["status"] == DONE]
    return bool(done) and all(done)


# What is compared between trials → the text for a trial, "" if it is not known.
_SETTINGS: Final[Mapping[str, Callable[[LeaderboardRow], str]]] = {
    "bias attribute": lambda row: _named("bias attribute", row.get("bias_name")),
    "networks": lambda row: _named("network", row.get("network")),
    "seeds": lambda row: _named(
        "seed" if len(row["seeds"]) == 1 else "seeds", ", ".join(map(str, row["seeds"]))
    ),
    "steps": lambda row: counted(row["steps"], "step") if row["steps"] else "",
    "precision": lambda row: row["precision"] or "",
    "threads": lambda row: counted(row["threads"], "thread") if row["threads"] else "",
}


def _named(name: str, value: str | None) -> str:
    return f"{name} {value}" if value else ""


def _settings_in_words(rows: Sequence[LeaderboardRow]) -> tuple[str, str]:
    """Return what all finished trials have in common, and a warning; each may be ""."""
    done = [row for row in rows if row["status"] == DONE]
    common, different, warnings = [], [], []
    for name, text_of in _SETTINGS.items():
        texts = list(dict.fromkeys(filter(None, map(text_of, done))))
        if len(texts) == 1:
            common += texts
        elif texts:
            different.append(f"{name} ({'; '.join(texts)})")
    if different:
        warnings.append(f"The trials differ in {', '.join(different)}.")
    for value, finding in (
        (False, "is biased itself: accuracy is too high"),
        (None, "is not known to be unbiased: accuracy may be too high"),
    ):
        splits = dict.fromkeys(row["percent"] for row in done if row["unbiased_test"] is value)
        if splits:
            named = f" ({', '.join(splits)})" if any(splits) else ""
            warnings.append(f"The test split{named} {finding}.")
    return (f"Each trial: {'; '.join(common)}." if common else ""), " ".join(warnings)


# --- About a selection rule -----------------------------------------------------------------------


def labels_of(table: RuleTable, method: str) -> str:
    """Return which bias labels the results of a method in a table rest on, "" if unknown."""
    rows = [row for row in dict(table.rows)[method] if row]
    has_values = any(row["mean"] is not None for row in rows)
    return bias_labels_text(rows[0].get("bias_labels"), table.rule if has_values else None)


def explain_test(test: SignificanceTest) -> str:
    """Return how methods are tested before one is marked as best."""
    return (
        "A method is marked as best only if it is significantly better than every other: "
        f"{test['name']}, p < {test['alpha']:g} against each of them after {test['correction']}'s "
        "correction for the number of comparisons within a data set, percent and checkpoint. "
        "The test needs at least two seeds; with few seeds it finds only large differences. "
        "Oracles are not ranked."
    )


def _unreliable_in_words(rows: Iterable[LeaderboardRow], kind: str) -> str:
    counts = [
        f"{measured(row, 'support_mean'):.0f} ({trial_name(row)})"
        for row in rows
        if row.get("reliable") is False
    ]
    if not counts:
        return ""
    return (
        f"? unreliable: based on fewer than {MIN_SUPPORT} {kind} for at "
        f"least one seed; mean over seeds: {', '.join(counts)}"
    )


def _collapsed_in_words(rows: Iterable[LeaderboardRow]) -> str:
    found = [
        f"{trial_name(row)} {collapsed_text(seeds)}"
        for row in rows
        if (seeds := row.get("collapsed"))
    ]
    return f"! {'; '.join(found)}" if found else ""


def _test_in_words(comparison: BestMethod, rows: Sequence[LeaderboardRow]) -> str:
    """Return the result of the tests at one percent."""
    best, against, percent = comparison["best"], comparison["against"], comparison["percent"]
    without = [row["method"] for row in rows if row["percent"] == percent and row["mean"] is None]
    missing = f" Without values: {', '.join(without)}." if without else ""
    return verdict_in_words(best, comparison["is_best"], against) + missing
