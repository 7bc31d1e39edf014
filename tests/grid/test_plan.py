"""Tests of the plan that a dry run shows."""

import io

import pytest
import torch
from rich.console import Console

from debias_pipeline.biased_data import SetSize, get_dataset
from debias_pipeline.grid.plan import Plan, PlannedTrial, plan_table
from debias_pipeline.grid.timing import Speed, measure
from debias_pipeline.methods import Batch, get_method, method_names
from recipe_fields import required_fields

SIZE = SetSize(train=100, valid=30, test=50, height=6, width=6, classes=3)
RECIPE = {"network": "mlp", "lr": 0.01, "batch_size": 16, "steps": 1000, "eval_every": 300}
OF_DISENT = {"swap_start": 500, "decay_every": 500, "gamma": 0.5}


def recipe(method):
    changes = OF_DISENT if method == "disent" else {}
    return {"method": method, **RECIPE, **required_fields(method), **changes}


def test_a_trial_is_its_steps_its_evaluations_and_a_prediction_of_the_test_split_per_rule():
    # ⌈1000 / 300⌉ evaluations of 80 images, and 4 · 50 images at the end.
    assert Speed(0.5, 0.01).seconds(RECIPE, SIZE) == pytest.approx(500 + (4 * 80 + 200) * 0.01)


def test_steps_of_earlier_stages_are_part_of_the_estimate():
    fields = {**recipe("jtt"), "first_steps": 400}
    assert measure(fields, SIZE, range(1), torch.device("cpu"), "fp32").earlier_steps == 400
    assert Speed(0.5, 0.0, 400).seconds(RECIPE, SIZE) == pytest.approx(700)


@pytest.mark.parametrize("method", method_names())
def test_any_method_can_be_timed(method):
    speed = measure(recipe(method), SIZE, range(2), torch.device("cpu"), "fp32")
    assert speed.step > 0 and speed.image > 0


def test_a_short_run_can_be_timed():
    fields = {**recipe("vanilla"), "steps": 3}
    assert measure(fields, SIZE, range(1), torch.device("cpu"), "fp32").step > 0


def test_timed_steps_are_spread_over_the_whole_run(monkeypatch):
    steps, original = [], get_method("vanilla").losses

    def noted(self, batch: Batch, step: int):
        steps.append(step)
        return original(self, batch, step)

    monkeypatch.setattr(get_method("vanilla"), "losses", noted)
    measure(recipe("vanilla"), SIZE, range(1), torch.device("cpu"), "fp32")
    late = sum(step >= 500 for step in steps)
    assert 10 <= len(steps) < 100
    assert abs(late / len(steps) - 0.5) < 0.15
    assert min(steps) < 100 and max(steps) > 900


@pytest.mark.parametrize("name", ["cmnist_mini"])
def test_the_stated_size_of_a_set_is_that_of_the_set(name, tmp_path):
    dataset = get_dataset(name)
    data = dataset.build("2pct", tmp_path, 0)
    counts = data.manifest["split"].value_counts()
    size = dataset.size
    assert (size.train, size.valid, size.test) == tuple(counts[["train", "valid", "test"]])
    assert data.images.shape[1:3] == (size.height, size.width)
    assert size.classes == len(dataset.label_names)


def shown(*trials, missing=()):
    console = Console(file=io.StringIO(), width=100)
    console.print(plan_table(Plan(trials, missing, "cpu", 1)))
    return console.file.getvalue()


def test_a_plan_says_what_is_left_and_how_that_was_estimated():
    text = shown(
        PlannedTrial("a_1pct.vanilla", True, None, 100.0),
        PlannedTrial("a_1pct.lff", False, "diverged", 60.0),
        PlannedTrial("a_2pct.lff", False, None, 90.0),
        missing=["a_2pct"],
    )
    assert "3 trials: 1 done, 2 to do." in text
    assert "about 2 min 30 s" in text
    assert "failed: diverged" in text
    assert "random images" in text and "cpu with 1 thread;" in text
    assert "Data to be made: a_2pct." in text


def test_a_finished_grid_needs_no_estimate():
    text = shown(PlannedTrial("a_1pct.vanilla", True, None, 100.0))
    assert "1 trial: 1 done, 0 to do." in text
    assert "stimated" not in text


def test_a_trial_of_unknown_size_has_no_estimate():
    text = shown(PlannedTrial("folder_1pct.vanilla", False, None, None))
    assert "No estimate for folder_1pct.vanilla" in text
