import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from html_tables import Table
from made_up_grids import a_grid, done, failed
from made_up_published import IN_WORDS
from made_up_runs import make_run, summary
from rich.console import Console

from debias_pipeline.errors import UserError
from debias_pipeline.names import METRICS
from debias_pipeline.reporting import (
    RecipeChange,
    TrialResult,
    draw_leaderboard_figures,
    leaderboard_charts,
    leaderboard_frame,
    make_leaderboard,
    terminal_leaderboard,
    write_leaderboard_files,
    write_leaderboard_markdown,
    write_leaderboard_page,
)
from debias_pipeline.reporting.leaderboard.rows import LeaderboardRow

LEAK = "chosen on the test set, as published code does: for comparison with published tables only"


def made(*trials: TrialResult) -> dict[str, Any]:
    leaderboard = make_leaderboard(trials)
    # As the catalog saves and loads it.
    return json.loads(json.dumps(leaderboard, allow_nan=False))


def row_of(leaderboard: dict[str, Any], percent: str, method: str, protocol: str) -> dict[str, Any]:
    key = ("percent", "method", "protocol")
    (row,) = [
        r for r in leaderboard["rows"] if tuple(map(r.get, key)) == (percent, method, protocol)
    ]
    return row


def page_of(leaderboard: dict[str, Any], **arguments: Any) -> str:
    figures = draw_leaderboard_figures(leaderboard)
    return write_leaderboard_page(leaderboard, figures, ["kedro run"], **arguments)


@pytest.fixture(scope="module")
def leaderboard() -> dict[str, Any]:
    return made(*a_grid())


@pytest.fixture(scope="module")
def page(leaderboard: dict[str, Any]) -> str:
    return page_of(leaderboard, mlflow_ui="http://127.0.0.1:5000")


def test_a_row_per_trial_and_selection_rule(leaderboard: dict[str, Any]) -> None:
    rows = leaderboard["rows"]
    assert len(rows) == 6 * 4
    over_seeds = ("step", "support", "conflict_detection_auroc", *METRICS)
    expected = {
        *LeaderboardRow.__annotations__,
        *(f"{name}_{part}" for name in over_seeds for part in ("mean", "std")),
        *(f"{name}_{part}" for name in METRICS for part in ("images", "low", "high")),
    }
    assert all(row.keys() == expected for row in rows)
    # Percents by size, methods as the grid names them.
    assert list(dict.fromkeys(row["percent"] for row in rows)) == ["0.5pct", "2pct"]
    assert [row["method"] for row in rows[:3]] == ["vanilla", "lff", "disent"]
    row = row_of(leaderboard, "2pct", "disent", "last")
    assert row["mean"] == pytest.approx(0.85)
    assert row["std"] == pytest.approx(0.01)
    assert (row["n_seeds"], row["seeds"], row["per_seed"]) == (3, [0, 1, 2], [0.84, 0.86, 0.85])
    assert (row["headline"], row["status"], row["error"]) == ("accuracy", "done", None)
    assert row["worst_group_accuracy_mean"] == pytest.approx(0.85)
    assert (row["seconds"], row["peak_memory_bytes"]) == (754.2, 640 * 2**20)
    assert row["mlflow_run_id"] == "run-of-disent-2pct"


def test_published_accuracies_are_only_in_rows_of_the_comparable_rule(
    leaderboard: dict[str, Any],
) -> None:
    best = row_of(leaderboard, "2pct", "vanilla", "best_on_test")
    assert best["leaks"]
    assert best["published"] == 0.6586
    assert best["difference"] == pytest.approx(0.66 - 0.6586)
    for protocol in ("last", "selected", "pseudo_groups"):
        row = row_of(leaderboard, "2pct", "vanilla", protocol)
        assert not row["leaks"]
        assert row["published"] is row["difference"] is None


def test_only_a_significantly_best_method_is_marked(leaderboard: dict[str, Any]) -> None:
    marked = [(r["percent"], r["method"]) for r in leaderboard["rows"] if r["is_best"]]
    assert marked == [("2pct", "disent")] * 4
    # At 0.5pct only vanilla has values: there is nothing to compare with.
    assert row_of(leaderboard, "0.5pct", "vanilla", "last")["p_value"] is None
    comparison = leaderboard["comparisons"][4]
    assert (comparison["percent"], comparison["protocol"]) == ("2pct", "last")
    assert (comparison["best"], comparison["is_best"]) == ("disent", True)
    assert [each["method"] for each in comparison["against"]] == ["lff", "vanilla"]
    p_values = [each["p_corrected"] for each in comparison["against"]]
    assert row_of(leaderboard, "2pct", "disent", "last")["p_value"] == max(p_values)
    assert row_of(leaderboard, "2pct", "lff", "last")["p_value"] == p_values[0]


def test_a_failure_hides_metrics_of_an_earlier_run() -> None:
    earlier = done("disent", [0.8, 0.9, 0.85]).metrics
    row = made(failed("disent", "out of memory", metrics=earlier))["rows"][0]
    assert (row["status"], row["error"], row["mean"]) == ("failed", "out of memory", None)
    assert row["seeds"] == row["per_seed"] == []


def test_a_method_without_a_value_for_each_seed_is_not_ranked() -> None:
    # As `evaluation.over_seeds` returns it.
    cell = done("disent", [0.9, 0.9, 0.9])
    last = cell.metrics["checkpoints"]["last"]  # type: ignore[index]
    last["accuracy"] = {"mean": None, "std": None, "per_seed": [0.9, None, 0.9]}
    leaderboard = made(done("vanilla", [0.5, 0.6, 0.7]), cell)
    assert leaderboard["comparisons"][0]["best"] == "vanilla"
    assert leaderboard["comparisons"][0]["against"] == []


def test_without_bias_labels_in_validation_there_is_no_selected() -> None:
    cells = [done(name, [0.5, 0.6, 0.7], selected=False) for name in ("vanilla", "disent")]
    leaderboard = made(*cells)
    assert row_of(leaderboard, "2pct", "disent", "selected")["mean"] is None
    assert {each["protocol"] for each in leaderboard["comparisons"]} == {
        "last",
        "pseudo_groups",
        "best_on_test",
    }
    assert Table(page_of(leaderboard), "cmnist-accuracy", "selected").rows[1][1] == "no value"


def test_a_missing_value_has_the_reason_that_the_data_gives() -> None:
    card = make_run().data_card
    card["splits"]["valid"] |= {"conflicting": 0, "conflicting_fraction": 0.0}
    trial = replace(done("vanilla", [0.5, 0.6, 0.7], selected=False), data_card=card)
    table = Table(page_of(make_leaderboard([trial])), "cmnist-accuracy", "selected")
    assert "no bias-conflicting image in the validation split" in table.titles[1, 1]


def test_frame_keeps_its_types_through_parquet(leaderboard: dict[str, Any], tmp_path: Path) -> None:
    for each in (
        leaderboard,
        made(failed("disent", "no"), TrialResult("cmnist", "1pct", "disent")),
    ):
        frame = leaderboard_frame(each)
        frame.to_parquet(tmp_path / "leaderboard.parquet")
        again = pd.read_parquet(tmp_path / "leaderboard.parquet")
        assert again.dtypes.to_dict() == frame.dtypes.to_dict()
        assert len(again) == len(each["rows"])
        assert again["mean"].dtype == "float64"
        assert again["n_seeds"].dtype == "Int64"
    assert math.isnan(again["mean"][0])


def test_page_links_every_accuracy_to_its_run(page: str) -> None:
    head, vanilla, lff, disent = Table(page, "cmnist-accuracy", "last").rows
    assert head == ["Method", "0.5pct", "2pct"]
    assert [each.split(" median")[0] for each in vanilla[1:]] == ["36.0 ± 1.0", "66.0 ± 1.0"]
    assert lff[1] == "failed: no room | <b>left</b>"
    assert lff[2].startswith("70.8 ± 0.8")
    assert disent[1] == "not run"
    assert disent[2].startswith("85.0 ± 1.0 best")
    assert "http://127.0.0.1:5000/#/experiments/7/runs/run-of-disent-2pct" in links(page)


def test_page_marks_the_leaking_rule_everywhere(page: str) -> None:
    assert LEAK in page
    headings = re.findall(r"<span>best on test.*?</span>|<h3>[^<]*best on test.*?</h3>", page)
    assert len(headings) == 3
    assert all("leaks" in heading for heading in headings)
    _, vanilla, lff, disent = Table(page, "cmnist-accuracy", "best_on_test").rows
    assert vanilla[2].startswith("66.0 ± 1.0")
    assert "published 65.86 (+0.1)" in vanilla[2]
    # A missing result, too, has its published accuracy.
    assert lff[1].endswith("published 52.50")
    assert disent[1] == "not run published 65.22"
    assert f"{IN_WORDS}." in page
    for protocol in ("last", "selected", "pseudo_groups"):
        assert "published" not in str(Table(page, "cmnist-accuracy", protocol).rows)


def test_accuracies_based_on_few_images_are_marked_everywhere() -> None:
    cell = done("disent", [0.8, 0.9, 0.85])
    few = {"support": summary(10, 10, 10), "reliable": False}
    cell.metrics["checkpoints"]["selected"] = {  # type: ignore[index]
        **cell.metrics["checkpoints"]["selected"], **few  # type: ignore[index]
    }  # fmt: skip
    board = made(cell)
    row = row_of(board, "2pct", "disent", "selected")
    assert (row["support_mean"], row["reliable"]) == (10, False)
    assert row_of(board, "2pct", "disent", "last")["reliable"] is True
    page, markdown = write_leaderboard_page(board, {}, []), write_leaderboard_markdown(board)
    assert Table(page, "cmnist-accuracy", "selected").rows[1][1].startswith("85.0 ± 5.0?")
    for text in (page, markdown):
        assert re.search(r"fewer than 30 conflicting.*10 \(2pct disent\)", text)
    assert "| 85.0 ± 5.0?, median 85.0 |" in markdown
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_leaderboard(board))
    assert "85.0 ± 5.0?" in console.file.getvalue()  # type: ignore[attr-defined]
    of_selected = write_leaderboard_files(board)["leaderboard.tex"].split(r"\caption")[2]
    assert r"85.0 $\pm$ 5.0?" in of_selected
    assert "fewer than 30 conflicting" in of_selected


def test_a_published_accuracy_of_another_recipe_is_shown_without_difference() -> None:
    changed = RecipeChange("steps", 50000, 4000)
    board = made(replace(done("disent", [0.8, 0.9, 0.85], 0.6522), recipe_changes=[changed]))
    assert "| disent | none | 85.0 ± 5.0, median 85.0 (65.22) |" in write_leaderboard_markdown(
        board
    )
    assert "steps 4000 instead of 50000" in write_leaderboard_files(board)["leaderboard.tex"]


def test_page_says_what_was_tested_and_what_failed(page: str) -> None:
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "two-sided paired t-test" in text
    assert "Holm's correction for the number of comparisons" in text.replace("&#39;", "'")
    assert (
        "2pct: disent is significantly better than every other method: +14.2 points against lff"
        in text
    )
    assert re.search(r"0\.5pct: only vanilla .* Without values: lff, disent\.", text)
    assert "0.5pct lff failed: no room | &lt;b&gt;left&lt;/b&gt;" in text
    assert "4 of 6 trials are done, 1 failed, 1 not run; together they took 1 h 3 min." in text


def test_page_shows_costs(page: str) -> None:
    head, *rows = Table(page, "cmnist-trials", "last").rows
    by_trial = {tuple(row[:2]): dict(zip(head, row, strict=True)) for row in rows}
    vanilla = by_trial["vanilla bias labels: none", "2pct"]
    assert (vanilla["Time"], vanilla["Peak memory"]) == ("12 min 34 s", "640 MiB")
    assert by_trial["disent bias labels: none", "0.5pct"]["Time"] == "not run"


def test_the_first_sentence_names_the_highest_means(leaderboard: dict[str, Any]) -> None:
    assert (
        '<p class="finding">Highest mean unbiased accuracy after the last step: '
        "vanilla with 36.0 ± 1.0 % at 0.5pct (no other method has a value); "
        "disent with 85.0 ± 1.0 % at 2pct (significantly better than every other method).</p>"
    ) in page_of(leaderboard)
    # Without values there is nothing to say but how far the grid is.
    page = page_of(made(failed("disent", "no")))
    assert '<p class="finding">0 of 1 trials are done, 1 failed' in page


def test_page_loads_nothing(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f"{policy}; script-src 'sha256-{digest}'\"" in page
    assert all(address.startswith("data:") for address in re.findall(r'src="([^"]*)"', page))
    assert all(address.startswith(("#", "http://127.0.0.1:5000")) for address in links(page))


def test_without_a_server_there_are_no_links_to_mlflow(leaderboard: dict[str, Any]) -> None:
    page = page_of(leaderboard)
    assert all(address.startswith("#") for address in links(page))
    assert "make ui" in page


def test_text_from_data_stays_text() -> None:
    nasty = '<script>alert("x")</script>'
    outcome = {"mlflow_run_id": '"><script>', "mlflow_experiment_id": "../1"}
    cells = [done(nasty, [0.5, 0.6, 0.7], outcome=outcome), failed("disent", nasty)]
    board = made(*cells)
    charts = leaderboard_charts(board)
    page = page_of(board, mlflow_ui="http://127.0.0.1:5000", charts=charts)
    assert "<script>alert" not in page
    assert "http://127.0.0.1:5000/#/experiments/..%2F1/runs/%22%3E%3Cscript%3E" in links(page)
    text = write_leaderboard_markdown(made(*cells, failed("other", "a | b\n\n# c")))
    assert "<script" not in text.replace("\\<", "")
    assert r"2pct other failed: a \| b \# c" in text


def test_mlflow_may_be_served_elsewhere() -> None:
    leaderboard = made(done("vanilla", [0.5, 0.6, 0.7]))
    page = page_of(leaderboard, mlflow_ui="https://runs.example/mlflow/")
    assert "https://runs.example/mlflow/#/experiments/7/runs/run-of-vanilla-2pct" in links(page)
    with pytest.raises(UserError, match="mlflow_ui='javascript:alert"):
        page_of(leaderboard, mlflow_ui="javascript:alert(1)//http://x")


@pytest.mark.slow
def test_a_warning_names_settings_in_which_trials_differ() -> None:
    cells = [
        done("vanilla", [0.5, 0.6, 0.7]),
        done("disent", [0.5, 0.6, 0.7], outcome={"steps": 50000}),
    ]
    page = page_of(made(*cells))
    assert "differ in steps (4,000 steps; 50,000 steps)." in page
    assert "Each trial: seeds 0, 1, 2; fp32; 1 thread." in page
    assert "differ in" not in page_of(made(cells[0]))


def test_the_bias_attribute_of_the_trials_is_named() -> None:
    trial = done("groupdro", [0.5, 0.6, 0.7])
    assert trial.metrics is not None
    trial.metrics["bias_name"] = "left+right"
    leaderboard = made(trial)
    assert {row["bias_name"] for row in leaderboard["rows"]} == {"left+right"}
    assert "Each trial: bias attribute left+right; " in write_leaderboard_markdown(leaderboard)


def test_headline_is_that_of_the_data_set() -> None:
    leaderboard = made(
        done("vanilla", [0.5, 0.6, 0.7], dataset="bffhq", headline="conflicting_accuracy"),
        TrialResult("bffhq", "2pct", "disent"),
    )
    assert {row["headline"] for row in leaderboard["rows"]} == {"conflicting_accuracy"}
    assert "### bffhq: conflicting accuracy in %" in write_leaderboard_markdown(leaderboard)


def test_markdown_is_the_same_table(leaderboard: dict[str, Any]) -> None:
    text = write_leaderboard_markdown(leaderboard)
    assert f"difference in points. {IN_WORDS}." in text
    lines = text.splitlines()
    assert lines[0] == "### cmnist: unbiased accuracy in %"
    assert lines[2] == (
        "Each trial: seeds 0, 1, 2; 4,000 steps; fp32; 1 thread. "
        "4 of 6 trials are done, 1 failed, 1 not run; together they took 1 h 3 min."
    )
    assert f"**best on test**: {LEAK}" in lines
    assert "| vanilla | none | 36.0 ± 1.0, median 36.0 | 66.0 ± 1.0, median 66.0 |" in lines
    assert "| disent | none | *not run* | **85.0 ± 1.0**, median 85.0 |" in lines
    assert "| lff | none | *failed* (52.50) | 70.8 ± 0.8, median 71.0 (71.03, −0.2) |" in lines
    assert "| vanilla | none | 12 min 34 s, 640 MiB | 12 min 34 s, 640 MiB |" in lines
    columns = {line.count("|") for line in lines if line.startswith("|")}
    assert columns == {5}


def test_the_files_have_all_values_and_the_tables(leaderboard: dict[str, Any]) -> None:
    files = write_leaderboard_files(leaderboard)
    assert list(files) == ["leaderboard.csv", "leaderboard.md", "leaderboard.tex"]
    values = pd.read_csv(io.StringIO(files["leaderboard.csv"]))
    expected = leaderboard_frame(leaderboard)
    for column in ("mean", "std", "conflicting_accuracy_mean", "seconds"):
        assert values[column].tolist() == pytest.approx(expected[column].tolist(), nan_ok=True)
    page = page_of(leaderboard, files=files)
    assert [each for each in links(page) if not each.startswith("#")] == [
        f"tables/{name}" for name in files
    ]


def test_a_chart_has_the_values_of_every_rule(leaderboard: dict[str, Any]) -> None:
    (chart,) = leaderboard_charts(leaderboard).values()
    table = chart.tables["trials"]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert len(rows) == len(leaderboard["rows"])
    (row,) = [
        each
        for each in rows
        if (each["rule"], each["percent"], each["series"]) == ("best_on_test", "2pct", "vanilla")
    ]
    assert (row["accuracy"], row["published"]) == (pytest.approx(0.66), 0.6586)
    assert (row["low"], row["high"]) == (pytest.approx(0.65), pytest.approx(0.67))
    assert [each.name for each in chart.series] == ["vanilla", "lff", "disent"]
    assert leaderboard_charts(made(failed("disent", "no"))) == {}


@pytest.mark.slow
def test_data_sets_with_values_have_a_figure(leaderboard: dict[str, Any]) -> None:
    assert list(draw_leaderboard_figures(leaderboard)) == ["cmnist"]
    assert draw_leaderboard_figures(leaderboard) == draw_leaderboard_figures(leaderboard)
    assert draw_leaderboard_figures(made(failed("disent", "no"))) == {}


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_table_fits(leaderboard: dict[str, Any], width: int) -> None:
    console = Console(width=width, file=io.StringIO(), legacy_windows=False)
    console.print(terminal_leaderboard(leaderboard))
    assert f"† {IN_WORDS}" in " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    for part in ("best on test*", "85.0 ± 1.0‡", "not run", "65.86", "4 of 6 trials are done"):
        assert part in text
    assert LEAK in " ".join(text.split())
    assert "0.5pct lff failed: no room | <b>left</b>" in text


def test_percents_that_are_no_numbers_come_last() -> None:
    percents = ["own", "10pct", "0.5pct", "2pct"]
    leaderboard = made(*(TrialResult("folder", percent, "vanilla") for percent in percents))
    shown = dict.fromkeys(row["percent"] for row in leaderboard["rows"])
    assert list(shown) == ["0.5pct", "2pct", "10pct", "own"]


def links(page: str) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "a":
                found.append(dict(attrs)["href"] or "")

    Links().feed(page)
    return found


@pytest.mark.parametrize(
    ("unbiased", "finding"), [(False, "is biased itself"), (None, "is not known to be unbiased")]
)
def test_accuracy_on_a_test_split_that_may_be_biased_is_not_called_unbiased(
    unbiased: bool | None, finding: str
) -> None:
    leaderboard = make_leaderboard(
        [
            done("vanilla", [0.6, 0.7, 0.8], unbiased_test=unbiased),
            done("vanilla", [0.3, 0.4, 0.5], percent="0.5pct"),
        ]
    )
    figures = draw_leaderboard_figures(leaderboard)
    console = Console(width=100, file=io.StringIO())
    console.print(terminal_leaderboard(leaderboard))
    for text in (
        write_leaderboard_page(leaderboard, figures, []),
        write_leaderboard_markdown(leaderboard),
        console.file.getvalue(),  # type: ignore[attr-defined]
    ):
        assert "Unbiased" not in text
        assert "est accuracy" in text
        assert f"The test split (2pct) {finding}" in " ".join(text.split())
    assert "nbiased" not in figures["cmnist"]


def test_a_single_test_image_is_written_in_the_singular() -> None:
    trial = done("vanilla", [0.0, 1.0])
    assert trial.metrics is not None
    for selected in trial.metrics["checkpoints"].values():
        selected["evidence"] = {"accuracy": {"images": 1, "low": 0.0, "high": 1.0}}
    console = Console(width=200, file=io.StringIO())
    console.print(terminal_leaderboard(make_leaderboard([trial])))
    assert "only 1 test image, so" in console.file.getvalue()  # type: ignore[attr-defined]
