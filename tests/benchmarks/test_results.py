"""What the benchmark leaves and prints, and how it says what moved."""

import contextlib
import copy
import json

import benchmarks.__main__ as bench
import pytest
from benchmarks.before_after import over_rounds
from benchmarks.compare import (
    Move,
    UnreadableResultsError,
    comparison_table,
    moves,
    read_results,
)
from benchmarks.parts import PARTS
from benchmarks.steps import cmnist_like_data
from benchmarks.tables import print_tables
from benchmarks.timing import Timing

from benchmarks import before_after

SMALL = {"train": 300, "valid": 20, "test": 20}


def spread(median, lower=None, upper=None):
    return {"median": median, "lower": lower or median, "upper": upper or median}


def case(method="disent", step=None, ratio=None):
    return {
        "dataset": "cmnist", "method": method, "replicas": 1, "precision": "fp32",
        "step": step or spread(5.0, 4.9, 5.2), "alone": spread(2.5, 2.4, 2.6),
        "ratio": ratio or spread(2.0, 1.9, 2.1),
        "steps_per_second": 200.0, "seed_steps_per_second": 200.0,
        "parts": {part: 1 / len(PARTS) for part in PARTS},
    }  # fmt: skip


@pytest.fixture
def results():
    imports = {"seconds": 4.0, "packages": [{"package": "torch", "seconds": 1.2}]}
    return {
        "schema": 2,
        "machine": {"threads": 2},
        "quick": False,
        "steps": [case("vanilla"), case("disent")],
        "load": 0.5,
        "startup": {"from_raw": spread(12.0), "again": spread(9.0), "imports": imports},
        "memory": [{"replicas": 1, "steps": 500, "peak_gb": 1.4}],
        "snapshots": [{"replicas": 3, "steps": 5000, "share": 0.0123}],
    }


def test_a_step_that_is_slower_by_more_than_its_spread_is_marked(results):
    old = copy.deepcopy(results)
    results["steps"][1]["step"] = spread(10.0, 9.0, 11.0)
    results["steps"][0]["step"] = spread(5.1, 4.8, 5.3)
    found = {each.name: each for each in moves(old, results)}
    slower = found["cmnist disent R=1 fp32: step, ms"]
    assert slower.change == pytest.approx(1.0)
    assert slower.beyond_spread
    assert not found["cmnist vanilla R=1 fp32: step, ms"].beyond_spread
    assert not found["cmnist disent R=1 fp32: ratio"].beyond_spread
    marks = list(comparison_table(list(found.values())).columns[-1].cells)
    assert marks.count("*") == 1


def test_start_up_and_memory_are_compared_too(results):
    names = {each.name for each in moves(results, results)}
    assert {
        "seconds to the first step, from raw",
        "peak memory, R=1, GB",
    } <= names


def test_only_what_both_have_is_compared(results):
    old = {"schema": 2, "steps": [case("disent", ratio=2.25)]}
    found = moves(old, results)
    assert [each.name for each in found] == [
        "cmnist disent R=1 fp32: step, ms",
        "cmnist disent R=1 fp32: ratio",
    ]
    assert found[1].old.median == 2.25


@pytest.mark.parametrize("before", [{}, {"schema": 1}])
def test_a_ratio_to_the_first_layers_products_only_is_not_compared(results, before):
    of_resnets = {**case("disent"), "dataset": "cifar10c"}
    results["steps"].append(of_resnets)
    old = {**before, "steps": [case("disent"), of_resnets]}
    assert [each.name for each in moves(old, results)] == [
        "cmnist disent R=1 fp32: step, ms",
        "cifar10c disent R=1 fp32: step, ms",
        "cifar10c disent R=1 fp32: ratio",
    ]


def test_another_machine_is_named(results, capsys):
    old = copy.deepcopy(results)
    old["machine"]["threads"] = 16
    bench.print_comparison(old, results)
    assert "threads was 16, is 2" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", '{"steps": 3}'])
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(UnreadableResultsError, match=r"^\S+old\.json .*$"):
        read_results(path)


def test_earlier_figures_that_are_not_there_are_refused_before_anything_is_measured(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(SystemExit, match="2"):
        bench.main(["--compare", str(tmp_path / "none.json")])
    assert "none.json cannot be read" in capsys.readouterr().err


def test_tables_show_every_case_and_section_uncut(results, capsys):
    print_tables(results)
    shown = capsys.readouterr().out
    assert "…" not in shown
    for text in (
        "5.0 [4.9, 5.2]",
        "2.00 [1.90, 2.10]",
        "gather and",
        "1.40",
        "1.23",
    ):
        assert text in shown


def test_a_section_that_was_left_out_has_no_table(results, capsys):
    print_tables({**results, "steps": [], "startup": None, "snapshots": []})
    shown = capsys.readouterr().out
    assert "peak memory" in shown
    assert "One training step" not in shown


def test_the_command_leaves_what_the_readme_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "cmnist_like_data", lambda: cmnist_like_data(SMALL))
    monkeypatch.setattr(bench, "mlflow_run", contextlib.nullcontext)
    path = tmp_path / "new" / "bench.json"
    options = "--quick --only cmnist --method vanilla --replicas 2 --precision bf16 --json"
    bench.main([*options.split(), str(path)])
    assert "vanilla" in capsys.readouterr().out
    results = read_results(path)
    assert results["schema"] == 2
    assert results["quick"] is True
    assert (results["startup"], results["memory"]) == (None, [])
    (found,) = results["steps"]
    assert [found[key] for key in ("dataset", "method", "replicas", "precision")] == [
        "cmnist", "vanilla", 2, "bf16",
    ]  # fmt: skip
    for name in ("step", "alone", "ratio"):
        assert set(found[name]) == {"median", "lower", "upper"}
    assert found["seed_steps_per_second"] == pytest.approx(2 * found["steps_per_second"])
    assert sum(found["parts"].values()) == pytest.approx(1)
    assert [each.name for each in path.parent.iterdir()] == ["bench.json"]
    # What it prints when nothing changed.
    bench.print_comparison(results, json.loads(path.read_text()))
    assert "+0.0" in capsys.readouterr().out


def test_over_rounds_a_figure_is_the_median_of_its_medians():
    rounds = [
        [Move("step", Timing(old, 0.0, 90.0), Timing(new, 0.0, 90.0)), Move("ratio", *halves)]
        for old, new, halves in zip(
            (6.0, 8.0, 7.0),
            (3.0, 5.0, 4.0),
            [(Timing.of([1.0]), Timing.of([0.5]))] * 3,
            strict=True,
        )
    ]
    step, ratio = over_rounds(rounds)
    assert step == Move("step", Timing(7.0, 6.5, 7.5), Timing(4.0, 3.5, 4.5))
    assert step.beyond_spread
    assert ratio == Move("ratio", Timing(1.0, 1.0, 1.0), Timing(0.5, 0.5, 0.5))


def test_before_and_after_take_turns_and_pass_on_what_is_to_be_measured(
    monkeypatch, tmp_path, results, capsys
):
    (tmp_path / "debias_pipeline").mkdir()
    asked = []

    def measured(sources, choice):
        asked.append((sources.parent.name, list(choice)))
        return results

    monkeypatch.setattr(before_after, "_measured", measured)
    before_after.main([str(tmp_path), "--rounds", "2", "--method", "disent"])
    assert [choice for _, choice in asked] == [["--method", "disent"]] * 4
    assert [place == tmp_path.parent.name for place, _ in asked] == [True, False] * 2
    assert "cmnist disent R=1 fp32: step, ms" in capsys.readouterr().out


def test_sources_that_are_not_the_packages_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        before_after.main([str(tmp_path)])
    assert "holds no debias_pipeline: name its folder src" in capsys.readouterr().err
