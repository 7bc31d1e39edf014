"""Bias labels, oracles, cost, medians and collapsed seeds, shown next to accuracies."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from html_tables import Table
from made_up_grids import done, failed
from made_up_reports import comparison_report, method_report
from made_up_runs import Run, make_run, summary
from rich.console import Console

from debias_pipeline.reporting import (
    MethodResult,
    TrialResult,
    headline_table,
    leaderboard_frame,
    make_leaderboard,
    terminal_leaderboard,
    write_comparison_report,
    write_leaderboard_markdown,
    write_leaderboard_page,
)
from debias_pipeline.reporting.conditions import bias_labels_text
from debias_pipeline.reporting.text import median_text, passes_text
from debias_pipeline.selection_rules import LAST, SELECTED

SEEDS = tuple(range(6))
# The mean is 85.0 and the median 88.3; seed 5 is 22 points below the median.
ACCURACIES = [0.861, 0.880, 0.886, 0.913, 0.896, 0.664]
PASSES = {"forward": 25_600_000, "backward": 12_800_000}


def a_collapsed_trial() -> TrialResult:
    trial = done("disent", ACCURACIES, seeds=SEEDS, outcome={"image_passes": PASSES})
    assert trial.metrics is not None
    trial.metrics["collapsed"] = {"last": [5]}
    return trial


def an_oracle() -> TrialResult:
    accuracies = [0.95, 0.951, 0.949, 0.95, 0.952, 0.951]
    return replace(done("groupdro", accuracies, seeds=SEEDS), bias_labels="training")


@pytest.fixture(scope="module")
def leaderboard() -> dict[str, Any]:
    vanilla = done("vanilla", [0.80, 0.81, 0.82, 0.81, 0.80, 0.81], seeds=SEEDS)
    trials = [an_oracle(), vanilla, a_collapsed_trial()]
    return json.loads(json.dumps(make_leaderboard(trials), allow_nan=False))


def terminal(table: Any) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("status", "said"), [("done", True), ("failed", False)])
def test_oracles_are_said_to_be_left_out_only_if_they_have_a_value(status: str, said: bool) -> None:
    oracle = an_oracle()
    if status == "failed":
        oracle = replace(failed("groupdro", "no memory"), bias_labels="training")
    page = write_leaderboard_page(make_leaderboard([done("vanilla", [0.5, 0.6]), oracle]), {}, [])
    assert ("oracles left out" in page) is said


def test_oracles_are_listed_last_and_not_ranked(leaderboard: dict[str, Any]) -> None:
    rows = [row for row in leaderboard["rows"] if row["protocol"] == "last"]
    assert [row["method"] for row in rows] == ["vanilla", "disent", "groupdro"]
    assert (rows[-1]["is_best"], rows[-1]["p_value"]) == (False, None)
    for comparison in leaderboard["comparisons"]:
        # The oracle has the highest mean.
        assert comparison["best"] == "disent"
        assert [each["method"] for each in comparison["against"]] == ["vanilla"]
    page = write_leaderboard_page(leaderboard, {}, [])
    names = [row[0] for row in Table(page, "cmnist-accuracy", "last").rows]
    assert names[1:] == [
        "vanilla bias labels: none",
        "disent bias labels: none",
        "oracles trained with bias labels: not ranked",
        "groupdro bias labels: training",
    ]
    assert "| groupdro (oracle) |" in write_leaderboard_markdown(leaderboard)
    text = terminal(terminal_leaderboard(leaderboard))
    assert "groupdro°" in text
    assert "none (vanilla, disent); training (groupdro)" in " ".join(text.split())


def test_a_collapsed_seed_and_the_median_are_in_every_leaderboard(
    leaderboard: dict[str, Any],
) -> None:
    row = next(r for r in leaderboard["rows"] if (r["method"], r["protocol"]) == ("disent", "last"))
    assert row["collapsed"] == [5]
    assert row["median"] == pytest.approx(0.883)
    page = write_leaderboard_page(leaderboard, {}, [])
    cell = Table(page, "cmnist-accuracy", "last").rows[2][1]
    assert cell.startswith("85.0 ± 9.3! median 88.3 seed 5 collapsed")
    assert "collapsed" not in Table(page, "cmnist-accuracy", "pseudo_groups").rows[2][1]
    markdown = write_leaderboard_markdown(leaderboard)
    assert "| 85.0 ± 9.3!, median 88.3 |" in markdown
    assert "! 2pct disent seed 5 collapsed" in markdown
    text = terminal(terminal_leaderboard(leaderboard))
    assert "85.0 ± 9.3!" in text
    assert "med. 88.3" in text
    assert "2pct disent seed 5 collapsed" in text


def test_the_cost_is_next_to_the_accuracy(leaderboard: dict[str, Any]) -> None:
    page = write_leaderboard_page(leaderboard, {}, [])
    assert Table(page, "cmnist-accuracy", "last").rows[2][1].endswith("25.6 + 12.8 M; 12 min 34 s")
    # Without counted images, as in outcomes of earlier versions.
    assert Table(page, "cmnist-accuracy", "last").rows[1][1].endswith("median 81.0 12 min 34 s")
    assert "12 min 34 s, 640 MiB, 25.6 + 12.8 M" in write_leaderboard_markdown(leaderboard)
    assert "25.6+12.8 M" in terminal(terminal_leaderboard(leaderboard))


def test_leaderboards_of_earlier_versions_are_still_shown(leaderboard: dict[str, Any]) -> None:
    new = ("bias_labels", "network", "median", "collapsed", "images_forward", "images_backward")
    rows = [{k: v for k, v in row.items() if k not in new} for row in leaderboard["rows"]]
    old = {**leaderboard, "rows": rows}
    assert "bias labels:" not in str(
        Table(write_leaderboard_page(old, {}, []), "cmnist-accuracy", "last").rows
    )
    assert "| disent |  | 85.0 ± 9.3, median 88.3 |" in write_leaderboard_markdown(old)
    assert "disent" in terminal(terminal_leaderboard(old))
    assert len(leaderboard_frame(old)) == len(rows)


def test_trials_with_other_networks_are_named() -> None:
    trials = [done("vanilla", [0.5, 0.6, 0.7]), done("disent", [0.8, 0.9, 0.85])]
    networks = ("resnet18", "resnet18 (imagenet)")
    pairs = zip(trials, networks, strict=True)
    page = write_leaderboard_page(
        make_leaderboard([replace(trial, network=name) for trial, name in pairs]), {}, []
    )
    assert "The trials differ in networks" in page
    assert "resnet18 (imagenet)" in page


def collapsed_run() -> Run:
    run = make_run(seeds=(3, 4, 5))
    collapse = {"collapsed": {"last": [4]}, "dead_units": {"last": summary(0.5, 0.94, 0.5)}}
    return replace(run, metrics={**run.metrics, **collapse, "bias_labels": "none"})


def test_a_collapsed_seed_is_named_in_reports_and_the_terminal() -> None:
    run = collapsed_run()
    for page in (method_report(run), comparison_report(run)):
        rows = Table(page, "headline").rows
        (row,) = [each for each in rows if "seed 4 collapsed" in " ".join(each)]
        assert "median 59.0" in row[1]
        assert "disent: seed 4 collapsed (last); dead feature units at last: 94 %" in page
    text = terminal(headline_table([MethodResult(run.metrics)], run.data_card))
    assert "last!" in text
    assert "med. 59.0" in text
    assert "! disent: seed 4 collapsed (last)" in " ".join(text.split())


def test_comparison_lists_oracles_apart_and_does_not_test_them(vanilla: Run) -> None:
    def of(name: str, labels: str, accuracy: float, **record: Any) -> MethodResult:
        run = make_run(name, conflicting_accuracy=accuracy)
        return MethodResult({**run.metrics, "bias_labels": labels}, record)

    results = [
        of("vanilla", "none", 0.3),
        of("rwg", "training", 0.8),
        of("disent", "none", 0.6, seconds=754.2, image_passes=PASSES),
    ]
    page, _ = write_comparison_report(results, {}, {}, vanilla.data_card)
    rows = Table(page, "headline").rows
    assert [row[0].split()[0] for row in rows[2:6]] == ["vanilla", "disent", "oracles", "rwg"]
    assert rows[3][1].endswith("25.6 + 12.8 M; 12 min 34 s")
    assert "disent bias labels: tuning" in [row[0] for row in rows]
    assert "against vanilla over 2 seeds" in page
    assert "against rwg" not in page
    assert "rwg (oracle) against vanilla: +50.0 points" in page
    text = terminal(headline_table(results, vanilla.data_card))
    assert text.index("disent") < text.index("rwg")
    assert "…" not in text
    words = " ".join(text.split())
    assert "rwg: bias labels training (oracle)" in words
    assert "disent: bias labels none, 25.6 + 12.8 M images, 12 min 34 s" in words


def test_bias_labels_are_those_of_the_method_and_of_the_rule() -> None:
    assert bias_labels_text("none", LAST) == "none"
    assert bias_labels_text("none", SELECTED) == "tuning"
    assert bias_labels_text("training", SELECTED) == "training"
    assert bias_labels_text(None) == ""


def test_numbers_as_text() -> None:
    assert median_text([0.1, 0.2]) == ""
    assert median_text([0.1, None, 0.3]) == ""
    assert median_text([0.1, 0.2, 0.9]) == "median 20.0"
    assert passes_text({"forward": 1480, "backward": 480}) == "1,480 + 480"
    assert passes_text(None) == "–"


def test_a_rule_that_selects_no_step_uses_no_bias_labels(without_bias_labels: Run) -> None:
    result = MethodResult({**without_bias_labels.metrics, "bias_labels": "none"})
    page, _ = write_comparison_report([result], {}, {}, without_bias_labels.data_card)
    assert "bias labels: tuning" not in page
    trial = done("vanilla", [0.5, 0.6], selected=False)
    board = write_leaderboard_page(make_leaderboard([trial]), {}, [])
    assert "bias labels: tuning" not in board
