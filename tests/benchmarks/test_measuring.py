"""What is timed is the real loop, and no time is counted twice or lost."""

import time

import pytest
import torch
from benchmarks.alone import all_products, encoders_of, first_layer_products
from benchmarks.cases import Case, Choice
from benchmarks.kedro_runs import seconds_by_package
from benchmarks.naive import NaiveDisent, PngFiles
from benchmarks.parts import PARTS, PIECES, measure_parts
from benchmarks.real_steps import summaries, time_steps
from benchmarks.steps import published_recipe, random_data, untrained
from benchmarks.timing import Timing
from benchmarks.watched_kedro import _watch_first_step
from PIL import Image

from debias_pipeline.losses import ClassNormalisedAverage
from debias_pipeline.methods import method_names

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


def test_every_counted_step_of_a_real_run_is_timed_and_the_calls_come_between_steps(data):
    heard = []
    times = time_steps(
        data, recipe(), 2, "fp32", rounds=6, warm_up=2,
        calls={"alone": lambda: heard.append("alone"), "other": lambda: heard.append("other")},
    )  # fmt: skip
    assert heard == ["alone", "other"] * 8
    assert len(times.steps) == len(times.others["alone"]) == len(times.others["other"]) == 6
    assert len(times.evaluations) == 1
    found = summaries(times)
    assert list(found) == ["step", "alone", "other", "ratio"]
    assert 0 < found["step"].lower <= found["step"].median <= found["step"].upper


def test_a_call_between_steps_is_no_part_of_a_step(data, monkeypatch):
    seconds = 0.0

    def clock():
        nonlocal seconds
        seconds += 0.001
        return seconds

    def slow():
        nonlocal seconds
        seconds += 1000.0

    monkeypatch.setattr(time, "perf_counter", clock)
    times = time_steps(
        data, recipe("vanilla"), 1, "fp32", rounds=5, warm_up=1, calls={"alone": slow}
    )
    assert min(times.others["alone"]) >= 1000 * 1000
    assert max(times.steps) < 1000


def test_one_value_has_no_spread():
    assert Timing.of([3.0]) == Timing(3.0, 3.0, 3.0)
    assert Timing.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Timing(3.0, 2.0, 4.0)


@pytest.mark.parametrize("method", method_names())
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
    first_layer_products(method, "bf16")()
    assert shapes == [(256, 192, 100), (192, 256, 100)] * 3 * branches
    shapes.clear()
    all_products(method, "fp32")()
    assert len(shapes) == (2 + 3 + 3) * 3 * branches


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


def test_the_naive_reference_learns_from_png_files(tmp_path):
    for number in range(30):
        label = number % 10
        shade = 25 * label
        image = Image.new("RGB", (28, 28), (shade, 255 - shade, 128))
        image.save(tmp_path / f"{number}_{label}_{label}.png")
    files = PngFiles(tmp_path, 90)
    assert len(files) == 90
    index, pixels, label = files[64]
    assert (index, tuple(pixels.shape), label) == (64, (3, 28, 28), files.labels[64])
    torch.manual_seed(0)
    naive = NaiveDisent(files, recipe(), workers=0)
    losses = [loss for _ in range(40) for loss in naive.steps()]
    assert len(losses) == 40 * 5
    assert sum(losses[-5:]) < sum(losses[:5]) / 3
    assert naive.accuracy(files) > 0.5
