"""The benchmarks measure real training steps and find methods by themselves."""

import json

import benchmarks.__main__ as bench
import pytest
import torch
from benchmarks.cases import PROJECT, Case, cases, random_data
from benchmarks.compare import measured_steps, ratio_rows
from benchmarks.parts import PARTS, parts_row
from benchmarks.rows import Spread, print_rows
from benchmarks.runs import ERROR, FIRST, HELP, cost, package_rows, seconds_by_package
from benchmarks.steps import bare_products, in_turn, step_row

from debias_pipeline.methods import method_names

DISENT = Case("cmnist", "disent", 2, "fp32")
# One network, two branches that swap features, and several updates in a step.
METHODS = ("vanilla", "disent", "debian")


@pytest.fixture(scope="module")
def data():
    return random_data(8, 1100)


def test_every_registered_method_with_a_recipe_is_measured():
    assert {case.method for case in cases(["cmnist", "cifar10c"])} == set(method_names())


def test_recipes_are_the_published_ones_with_features_swapped_from_the_start():
    recipe = DISENT.recipe()
    assert (recipe.batch_size, recipe.lambda_dis, recipe.swap_start) == (256, 10, 0)


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_measured_with_their_ratio_to_the_products(data, method):
    row = step_row(Case("cmnist", method, 1, "bf16"), data, seconds=0.01)
    assert row["method"] == method
    assert row["steps"] >= row["rounds"] >= 2
    ratio = row["ratio"]
    assert 0 < ratio.lower <= ratio.median <= ratio.upper


@pytest.mark.parametrize("method", METHODS)
def test_parts_of_a_step_sum_to_the_whole(data, method):
    row = parts_row(Case("cmnist", method, 1, "fp32"), data, steps=2)
    shares = [row[f"{part}, %"] for part in PARTS]
    assert sum(shares) == pytest.approx(100)
    assert all(share > 0 for share in shares)
    assert 0 < row["products, %"] < 100


def test_measured_steps_train_the_method(data):
    method, stage = DISENT.last_stage(data)
    before = method.encoder.first.weight.clone()
    in_turn([lambda: stage.train_step("fp32")], seconds=0.01)
    assert stage.step >= 2
    assert not torch.equal(before, method.encoder.first.weight)


def test_products_are_those_of_all_layers_of_all_encoders(data, monkeypatch):
    shapes = []
    product = torch.mm

    def counted(left, right):
        shapes.append((*left.shape, right.shape[1]))
        return product(left, right)

    calculate = bare_products(DISENT.untrained(DISENT.recipe(), data), 256, "bf16")
    monkeypatch.setattr(torch, "mm", counted)
    calculate()
    seeds, branches = 2, 2
    assert shapes == seeds * branches * [
        (256, 192, 100), (192, 256, 100),
        (256, 100, 100), (100, 256, 100), (256, 100, 100),
        (256, 100, 16), (100, 256, 16), (256, 16, 100),
    ]  # fmt: skip


def test_a_spread_has_quartiles_and_a_single_value_has_none():
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)


def test_two_checkouts_are_compared_by_the_ratio_of_medians():
    pairs = [
        ({"a": old}, {"a": new, "b": 9.0}) for old, new in ((6.0, 3.0), (8.0, 8.0), (7.0, 4.0))
    ]
    (row,) = ratio_rows([[{("cmnist", "lff", 1, k): v for k, v in side.items()} for side in pair]
                         for pair in pairs])  # fmt: skip
    assert (row["method"], row["before, ms"], row["after, ms"]) == ("lff", 7.0, 4.0)
    assert row["ratio"] == Spread(4 / 7, *(pytest.approx(each) for each in (15 / 28, 11 / 14)))


def test_a_table_is_not_cut_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    print_rows("Steps", [{"method": "disent", "ratio": Spread(1.6, 1.57, 1.64), "seconds": 123.4}])
    shown = capsys.readouterr().out
    assert "disent" in shown
    assert "1.60 (1.57 to 1.64)" in shown
    assert "…" not in shown


def test_the_command_says_how_long_it_takes_and_writes_its_numbers(
    data, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(bench, "random_data", lambda *_: data)
    monkeypatch.setattr(bench, "QUICK", bench.QUICK.__class__(
        ("lff",), (1,), ("fp32",), {"cmnist": 0.01}, {"cmnist": 1}, 1,
    ))  # fmt: skip
    path = tmp_path / "steps.json"
    arguments = ["--quick", "--only", "steps", "parts", "--dataset", "cmnist", "--method", "lff"]
    bench.main([*arguments, "--json", str(path)])
    shown = capsys.readouterr().out
    assert shown.startswith("About 0.0 min on two idle cores: steps, parts\n")
    assert f"torch {torch.__version__}" in shown
    found = json.loads(path.read_text())
    (row,) = found["steps"]
    assert (row["method"], row["seeds"]) == ("lff", 1)
    assert set(row["ratio"]) == {"median", "lower", "upper"}
    assert found["machine"]["package"] == str(PROJECT / "src/debias_pipeline")


def test_quick_takes_about_a_minute_and_everything_up_to_ten():
    for arguments, minutes in ((["--quick"], 1.3), ([], 10)):
        expected = bench.measurements(bench.parse(arguments))
        assert sum(seconds for seconds, _ in expected.values()) <= 60 * minutes


@pytest.mark.slow
def test_steps_of_another_checkout_are_those_of_its_own_package(tmp_path):
    choice = ["--quick", "--dataset", "cmnist", "--method", "vanilla"]
    found = measured_steps(PROJECT, choice)
    assert list(found) == [("cmnist", "vanilla", 1, "fp32")]
    for name in ("benchmarks", "conf"):
        (tmp_path / name).symlink_to(PROJECT / name)
    with pytest.raises(RuntimeError, match="expected it in"):
        measured_steps(tmp_path, choice)


def test_a_command_with_a_wrong_exit_code_is_an_error(tmp_path):
    found = cost(tmp_path, ["-c", "exit(3)"], exit_code=3)
    assert found.seconds > 0
    assert 0 < found.peak_gb < 0.1
    with pytest.raises(RuntimeError, match="ended with 3, not 0"):
        cost(tmp_path, ["-c", "exit(3)"])


IMPORTTIME = """
import time: self [us] | cumulative | imported package
import time:       250 |        250 |   torch._C
import time:      1000 |       1250 | torch
import time:        50 |         50 | kedro.io
"""


def test_seconds_of_a_package_are_those_of_its_modules_without_what_they_import():
    assert seconds_by_package(IMPORTTIME) == {"torch": pytest.approx(0.00125), "kedro": 0.00005}


@pytest.mark.slow
def test_start_up_is_measured_to_the_first_training_step_and_by_package():
    rows = {row["package"]: row for row in package_rows("")}
    total, cpu = rows.pop("total"), rows.pop("total, CPU seconds")
    for command in (HELP, ERROR, FIRST):
        assert sum(row[command] for row in rows.values()) == pytest.approx(total[command])
        assert cpu[command] > 0
    assert rows["torch"][FIRST] > 0.1
    assert rows["torch"][HELP] == rows["torch"][ERROR] == 0
