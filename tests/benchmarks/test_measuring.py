"""What is timed is the real loop, and no time is counted twice or lost."""

import time

import pytest
import torch
from benchmarks.alone import encoders_of, products
from benchmarks.cases import Case, Choice
from benchmarks.kedro_runs import seconds_by_package
from benchmarks.parts import PARTS, PIECES, measure_parts
from benchmarks.real_steps import Blocks, StepTimes, summaries, time_steps
from benchmarks.steps import methods_with_recipe, published_recipe, random_data, untrained
from benchmarks.timing import Timing
from benchmarks.watched_kedro import _watch_first_step

from debias_pipeline.losses import ClassNormalisedAverage

DELAY = 0.02


@pytest.fixture(scope="module")
def data():
    return random_data(8, splits={"train": 64, "valid": 20, "test": 20})


def recipe(method="disent"):
    return published_recipe("cmnist", method, batch_size=16)


def test_published_recipes_swap_features_from_the_start():
    of_disent = published_recipe("cmnist", "disent")
    assert (of_disent.batch_size, of_disent.swap_start, of_disent.lambda_dis) == (256, 0, 10)
    assert published_recipe("cifar10c", "vanilla").network == "resnet18"


def test_steps_of_a_real_run_and_calls_take_turns_in_blocks(data, monkeypatch):
    heard = []
    note = StepTimes.on_step

    def on_step(self):
        heard.append("step")
        note(self)

    monkeypatch.setattr(StepTimes, "on_step", on_step)
    times = time_steps(
        data, recipe(), 2, "fp32", blocks=Blocks(count=3, steps=4, calls=2), warm_up=1,
        calls={"alone": lambda: heard.append("alone"), "other": lambda: heard.append("other")},
    )  # fmt: skip
    block = ["step"] * 4 + ["alone"] * 2 + ["other"] * 2
    assert heard == ["step", *block, *block, *block]
    # The first of each is not counted.
    assert [len(each) for each in times.steps] == [3, 3, 3]
    assert [len(each) for each in times.others["other"]] == [1, 1, 1]
    assert len(times.evaluations) == 1
    found = summaries(times)
    assert list(found) == ["step", "alone", "other", "ratio"]
    assert 0 < found["step"].lower <= found["step"].median <= found["step"].upper


def test_a_ratio_is_of_a_blocks_median_step_to_its_median_call():
    times = StepTimes(Blocks(count=3, steps=4), warm_up=0, calls={"alone": lambda: None})
    times.steps = [[4.0, 6.0, 90.0], [12.0, 12.0, 12.0], [9.0, 10.0, 11.0]]
    times.others["alone"] = [[2.0, 3.0, 70.0], [6.0], [4.0]]
    found = summaries(times)
    assert found["step"] == Timing(10.0, 8.0, 11.0)
    assert found["alone"] == Timing(4.0, 3.5, 5.0)
    assert found["ratio"] == Timing(2.0, 2.0, 2.25)


def test_calls_are_no_part_of_a_step_and_what_follows_other_work_is_not_counted(data, monkeypatch):
    now, waits = 0.0, {"step": 0.0, "alone": 0.0}

    def clock():
        return now

    def alone():
        nonlocal now
        now += 1.0 + waits["alone"]
        waits.update(step=50.0, alone=0.0)

    note = StepTimes.on_step

    def on_step(self):
        nonlocal now
        now += 3.0 + waits["step"]
        waits.update(step=0.0, alone=50.0)
        note(self)

    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(StepTimes, "on_step", on_step)
    times = time_steps(
        data, recipe("vanilla"), 1, "fp32", blocks=Blocks(2, 3, 3), calls={"alone": alone}
    )
    assert times.steps == [[3000.0, 3000.0]] * 2
    assert times.others["alone"] == [[1000.0, 1000.0]] * 2


def test_one_value_has_no_spread():
    assert Timing.of([3.0]) == Timing(3.0, 3.0, 3.0)
    assert Timing.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Timing(3.0, 2.0, 4.0)


@pytest.mark.parametrize("method", methods_with_recipe("cmnist"))
def test_the_loop_uses_every_piece_that_is_timed(data, method):
    parts = measure_parts(data, recipe(method), 1, "fp32", steps=20, evaluations=2, warm_up=2)
    for part in (*PIECES, "forward", "rest of the step"):
        assert parts.per_step[part] > 0, part
    assert set(parts.per_evaluation) == {"evaluation", "logging"}
    assert parts.per_evaluation["evaluation"] > 0


def test_time_within_a_piece_within_a_piece_counts_for_the_inner_one(data, monkeypatch):
    update = ClassNormalisedAverage.update

    def slow(self, *arguments):
        time.sleep(DELAY)
        return update(self, *arguments)

    monkeypatch.setattr(ClassNormalisedAverage, "update", slow)
    parts = measure_parts(data, recipe(), 1, "fp32", steps=8, evaluations=1, warm_up=2)
    assert parts.per_step["averages and weights"] >= 1000 * DELAY
    assert parts.per_step["forward"] < 1000 * DELAY
    assert ClassNormalisedAverage.update is slow


def test_time_in_listeners_counts_as_logging(data, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.parts.StepMetrics.on_evaluation", lambda *_: time.sleep(10 * DELAY)
    )
    parts = measure_parts(data, recipe(), 1, "fp32", steps=4, evaluations=1, warm_up=1)
    assert parts.per_evaluation["logging"] >= 10_000 * DELAY
    assert parts.per_evaluation["evaluation"] < 10_000 * DELAY


def test_shares_are_of_a_run_that_is_evaluated_every_so_many_steps(data):
    parts = measure_parts(data, recipe(), 1, "fp32", steps=10, evaluations=1, warm_up=2)
    often, seldom = parts.shares(eval_every=1), parts.shares(eval_every=10_000)
    assert set(often) == set(seldom) == set(PARTS)
    assert sum(often.values()) == pytest.approx(1) == pytest.approx(sum(seldom.values()))
    assert often["evaluation"] > 0.1 > seldom["evaluation"]
    tenfold = parts.with_evaluation_times(10)
    assert tenfold.per_evaluation["evaluation"] == 10 * parts.per_evaluation["evaluation"]


@pytest.mark.parametrize(("method", "branches"), [("vanilla", 1), ("disent", 2)])
def test_as_many_products_alone_as_there_are_encoders(data, method, branches, monkeypatch):
    method = untrained(data, recipe(method), 3)
    assert encoders_of(method) == 3 * branches
    shapes = []
    product = torch.Tensor.__matmul__

    def counted(left, right):
        shapes.append((*left.shape, right.shape[1]))
        return product(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", counted)
    products(method, "bf16")()
    assert shapes == 3 * branches * [
        (256, 192, 100), (192, 256, 100),
        (256, 100, 100), (100, 256, 100), (256, 100, 100),
        (256, 100, 16), (100, 256, 16), (256, 16, 100),
    ]  # fmt: skip


def test_a_choice_of_cases_leaves_the_others_out():
    chosen = Choice(methods=["disent"], precisions=["bf16"])
    assert [case.replicas for case in chosen.cases("cmnist")] == [1, 3, 5, 12]
    assert list(Choice(["vanilla"], [7], ["fp32"]).cases("cifar10c")) == [
        Case("cifar10c", "vanilla", 7, "fp32")
    ]


def test_the_first_step_of_an_optimiser_is_noted_and_no_other():
    times = []
    _watch_first_step(times)
    weight = torch.nn.Parameter(torch.ones(1))
    adam = torch.optim.Adam([weight])
    for _ in range(3):
        weight.sum().backward()
        adam.step()
    assert len(times) == 1


def test_imports_are_added_up_by_package():
    listing = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       500 |        500 |   numpy.core\n"
        "import time:      1500 |       2000 | numpy\n"
        "something else\n"
        "import time:       250 |        250 | _abc\n"
    )
    assert seconds_by_package(listing) == {"numpy": 0.002, "_abc": 0.00025}
