import io
import re
from dataclasses import replace
from typing import Any, cast

import pytest
from html_tables import Table
from made_up_grids import done, make_metrics
from made_up_runs import summary
from rich.console import Console

from debias_pipeline.reporting import (
    Leaderboard,
    TrialResult,
    make_leaderboard,
    terminal_leaderboard,
    write_leaderboard_latex,
    write_leaderboard_markdown,
    write_leaderboard_page,
)

ORIGIN = "commit 0123456789ab, 2 cores, x86_64, cpu, 2026-11-26"


def own(method: str, per_seed: list[float], images: str = "a", **trial: Any) -> TrialResult:
    return done(method, per_seed, outcome={"content_hash": images}, **trial)


def reference(method: str, per_seed: list[float], images: str = "a", **trial: Any) -> TrialResult:
    return replace(own(method, per_seed, images, **trial), origin=ORIGIN)


def printed(leaderboard: Leaderboard, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_leaderboard(leaderboard))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_reference_is_marked_everywhere_and_not_counted_as_a_trial() -> None:
    board = make_leaderboard(
        [
            own("mine", [0.5, 0.6, 0.7]),
            reference("lff", [0.4, 0.5, 0.6]),
            own("x", [0.1, 0.2, 0.3]),
            replace(reference("rwg", [0.7, 0.8, 0.9]), bias_labels="training"),
        ]
    )
    page, markdown = write_leaderboard_page(board, {}, []), write_leaderboard_markdown(board)
    name, accuracy = Table(page, "cmnist-accuracy", "last").rows[2]
    assert name.startswith("lff")
    assert accuracy.startswith("50.0 ± 10.0ᴿ")
    assert "12 min 34 sᴿ" in Table(page, "cmnist-trials", "last").rows[2]
    assert "| mine | none | 60.0 ± 10.0, median 60.0 |" in markdown
    assert "| lff | none | 50.0 ± 10.0ᴿ, median 50.0 |" in markdown
    assert r"lff & none & 50.0 $\pm$ 10.0$^{R}$ \\" in write_leaderboard_latex(board)
    for text in (page, markdown, printed(board, 200), write_leaderboard_latex(board)):
        assert re.search(
            r"(ᴿ|\$\^\{R\}\$) reference, not run here: lff, rwg at 2pct \(commit 0123456789ab",
            text,
        )
    for text in (page, markdown, printed(board)):
        assert "2 of 2 trials are done, 2 references" in " ".join(text.split())
        assert "Place of mine by mean, last: 1 of 3 at 2pct" in text
        assert "Place of x by mean, last: 3 of 3 at 2pct" in text
        assert "Place of lff" not in text
    assert "rwg: not ranked" in write_leaderboard_latex(board)


def test_values_of_four_percents_and_their_places_stay_whole_in_the_terminal() -> None:
    percents = ("0.5pct", "1pct", "2pct", "5pct")
    trials = [reference("disent", [0.3, 0.5, 0.7], percent=percent) for percent in percents]
    few = {"support": summary(10, 10, 10), "reliable": False}
    for trial in trials:
        checkpoints = cast(dict[str, Any], trial.metrics)["checkpoints"]
        checkpoints["selected"] = checkpoints["selected"] | few
    mine = [own("mine", [0.1, 0.2, 0.3], percent=percent) for percent in percents]
    text = printed(make_leaderboard([*mine, *trials]), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("20.0?ᴿ") == 4
    assert "Place of mine by mean, last: 2 of 2 at 0.5pct, 2 of 2 at 1pct" in " ".join(text.split())


def test_without_references_nothing_is_said_of_them() -> None:
    board = make_leaderboard([own("mine", [0.5, 0.6, 0.7])])
    for text in (write_leaderboard_markdown(board), printed(board)):
        assert "eference" not in text
        assert "Place" not in text


@pytest.mark.parametrize(
    ("images", "seeds", "tested"), [("a", (0, 1, 2), 3), ("b", (0, 1, 2), 0), ("a", (3, 4, 5), 0)]
)
def test_a_reference_is_tested_only_where_seeds_and_images_form_pairs(
    images: str, seeds: tuple[int, ...], tested: int
) -> None:
    mine = own("mine", [0.80, 0.81, 0.82])
    other = reference("lff", [0.50, 0.52, 0.51], images, seeds=seeds)
    board = make_leaderboard([mine, other])
    comparison = board["comparisons"][0]
    assert comparison["against"][0]["seeds"] == tested
    # It is not called the best if one of the others could not be tested.
    assert comparison["is_best"] is bool(tested)
    text = write_leaderboard_markdown(board)
    assert ("not tested against lff" in text) is (tested == 0)
    assert ("lff on other images at 2pct" in text) is (images == "b")


@pytest.mark.parametrize(
    # The reference has mean 0.2 and s = 0.1; see test_intervals.py.
    ("per_seed", "reproduces", "words"),
    [
        ([0.5, 0.55, 0.6], True, "2pct lff reproduces its reference: last 55.0 % in −15.1–55.1 %"),
        ([0.5, 0.56, 0.6], False, "lff does not reproduce its reference: last 55.3 % outside"),
    ],
)
def test_a_trial_reproduces_its_reference_inside_the_prediction_interval(
    per_seed: list[float], reproduces: bool, words: str
) -> None:
    expected: Any = make_metrics("lff", [0.1, 0.2, 0.3])
    board = make_leaderboard([replace(own("lff", per_seed), reference=expected)])
    row = board["rows"][0]
    assert row["reproduces"] is reproduces
    assert row["expected_low"] == pytest.approx(-0.151310, abs=1e-6)
    for text in (write_leaderboard_markdown(board), printed(board, 300)):
        assert words in text.replace("-15.1", "−15.1")


def test_a_reference_of_one_seed_has_no_spread_to_compare_with() -> None:
    expected: Any = make_metrics("lff", [0.2], seeds=(0,))
    board = make_leaderboard([replace(own("lff", [0.1, 0.2, 0.3]), reference=expected)])
    assert board["rows"][0]["reproduces"] is None
    assert "its reference" not in write_leaderboard_markdown(board)


def test_latex_has_a_table_per_rule_and_escapes_names() -> None:
    nasty = r"a_b&c\d{e}~$%#^<|>"
    trials = [own(nasty, [0.80, 0.81, 0.82]), own("vanilla", [0.50, 0.52, 0.51])]
    board = make_leaderboard(trials)
    text = write_leaderboard_latex(board)
    assert text.count(r"\begin{tabular}{llr}") == 4
    assert r"vanilla & none & 51.0 $\pm$ 1.0 \\" in text
    assert r"\textbf{81.0 $\pm$ 1.0}" in text
    escaped = (
        r"a\_b\&c\textbackslash{}d\{e\}\textasciitilde{}\$\%\#\textasciicircum{}"
        r"\textless{}\textbar{}\textgreater{}"
    )
    assert escaped in text
    assert nasty not in text
    assert r"\caption{cmnist: unbiased accuracy in \%, last" in text
    assert r"\label{tab:cmnist-last}" in text
    # Every dollar sign is escaped, or one of a pair around a single symbol.
    assert "$" not in re.sub(r"\\\$|\$\\pm\$|\$-\$", "", text)
