"""A cell: what training and evaluation give, or a hole with a reason."""

import numpy as np
import pandas as pd
import pytest
import torch

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import AlreadyRunningError, Hole
from debias_pipeline.grid import CELL_ENTRIES
from debias_pipeline.io.snapshots import SnapshotStore
from debias_pipeline.pipelines.benchmark.memory import PeakMemory
from debias_pipeline.pipelines.benchmark.nodes import build_setting, run_cell
from debias_pipeline.pipelines.evaluation.nodes import evaluate, predict_test
from debias_pipeline.pipelines.training.nodes import train_method

RECIPE = {
    "method": "vanilla", "network": "mlp", "lr": 0.01, "batch_size": 32, "steps": 4,
    "eval_every": 2,
}  # fmt: skip
STORE = SnapshotStore("memory://snapshots", {})
SIZES = {"train": 64, "valid": 20, "test": 30}


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    total = sum(SIZES.values())
    label = np.arange(total, dtype=np.int16) % 10
    bias = np.where(random.random(total) < 0.8, label, random.integers(0, 10, total))
    manifest = pd.DataFrame(
        {
            "image_id": np.arange(total),
            "split": np.repeat([*SIZES], [*SIZES.values()]),
            "label": label,
            "bias": bias.astype(np.int16),
            "conflicting": pd.array(bias != label, dtype="boolean"),
        }
    )
    digits = get_dataset("cmnist_mini")
    card = {
        "dataset": digits.name, "percent": "2pct", "headline": "accuracy", "origin": "noise",
        "seed": 0, "image_shape": [6, 6, 3], "label_names": [*digits.label_names],
        "bias_names": [*digits.bias_names],
    }  # fmt: skip
    images = random.integers(0, 256, (total, 6, 6, 3), dtype=np.uint8)
    return images, manifest, card


def run(data, *, problem="", recipe=RECIPE, threads="auto"):
    results = run_cell(
        *data, problem, STORE, "cmnist_mini", "2pct", recipe, 5, 2, "cpu", "fp32", threads, False
    )
    return dict(zip(CELL_ENTRIES, results, strict=True))


def test_a_cell_gives_what_training_and_evaluation_give(data):
    cell = run(data)
    checkpoint, history, weights, record = train_method(
        *data, STORE, RECIPE, 5, 2, "cpu", "fp32", "auto", False
    )
    predictions = predict_test(data[0], data[1], checkpoint, data[2], "cpu", "fp32")
    metrics, groups, _ = evaluate(predictions, data[1], weights, data[2], record)
    assert cell["metrics"] == metrics
    pd.testing.assert_frame_equal(cell["group_accuracy"], groups)
    pd.testing.assert_frame_equal(cell["predictions"], predictions)
    speed = "images_per_second"
    pd.testing.assert_frame_equal(cell["history"].drop(columns=speed), history.drop(columns=speed))
    for name, tensor in checkpoint["tensors"].items():
        assert torch.equal(cell["checkpoint"]["tensors"][name], tensor)


def test_the_outcome_says_what_was_run_and_what_it_cost(data):
    outcome = run(data)["outcome"]
    assert 0 < outcome.pop("seconds") < 60
    assert len(outcome.pop("settings_digest")) == 8
    assert outcome.pop("content_hash") is None  # the data card has none
    assert outcome.pop("peak_memory_bytes") in (None, pytest.approx(1e9, rel=10))
    assert outcome == {
        "dataset": "cmnist_mini", "percent": "2pct", "method": "vanilla", "seeds": [5, 6],
        "precision": "fp32", "steps": 4, "status": "done", "error": None,
        "threads": torch.get_num_threads(), "mlflow_run_id": None, "mlflow_experiment_id": None,
    }  # fmt: skip


def test_a_trial_that_another_process_trains_leaves_no_outcome_that_says_failed(data, monkeypatch):
    def refuse(*arguments):
        raise AlreadyRunningError("Another process trains with the same settings")

    monkeypatch.setattr("debias_pipeline.pipelines.benchmark.nodes.train_method", refuse)
    with pytest.raises(AlreadyRunningError):
        run(data)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"problem": "No raw data in data/01_raw"}, "No raw data in data/01_raw"),
        ({"recipe": {**RECIPE, "lr": 1e30}}, "try a smaller benchmark.overrides.lr"),
        ({"recipe": {**RECIPE, "batch_size": 100}}, "benchmark.overrides.batch_size=100 is larger"),
    ],
)
def test_a_cell_that_fails_is_a_hole_with_a_reason(data, change, error, caplog):
    cell = run(data, **change)
    outcome = cell.pop("outcome")
    assert outcome["status"] == "failed"
    assert error in outcome["error"]
    assert {*cell.values()} == {Hole(outcome["error"])}
    assert caplog.messages == [f"cmnist_mini_2pct.vanilla failed: {outcome['error']}"]


def test_any_exception_makes_a_hole(data, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr("debias_pipeline.pipelines.benchmark.nodes.train_method", fail)
    error = run(data)["outcome"]["error"]
    assert error == "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"


def test_an_interrupted_cell_is_no_hole(data, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("debias_pipeline.pipelines.benchmark.nodes.train_method", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(data)


@pytest.mark.parametrize(
    ("images", "error"),
    [(None, "data set is not there"), (Hole("images.npy is damaged"), "damaged")],
)
def test_data_that_is_not_there_or_damaged_makes_a_hole(data, images, error):
    assert error in run((images, *data[1:]))["outcome"]["error"]


def test_a_cell_computes_with_its_own_threads_and_leaves_those_of_the_process(data):
    before = torch.get_num_threads()
    assert run(data, threads=2)["outcome"]["threads"] == 2
    assert torch.get_num_threads() == before


def test_a_setting_is_what_ingestion_makes():
    images, manifest, card, figures, problem = build_setting("cmnist_mini", "2pct", "", 0, {})
    assert problem == "" and figures == {}
    assert len(images) == len(manifest) == 5000
    assert card["percent"] == "2pct"


def test_a_setting_that_cannot_be_made_leaves_holes_and_the_reason(tmp_path):
    raw = str(tmp_path / "nothing")
    *parts, problem = build_setting("bffhq", "1pct", raw, 0, {})
    assert "nothing" in problem
    assert parts == [Hole(problem)] * 4


def test_peak_memory_forgets_what_was_before():
    watch = PeakMemory()
    if watch.bytes() is None:
        pytest.skip("only Linux tells and forgets the peak of a process")
    size = 100 * 1024**2
    block = np.ones(size, np.uint8)
    peak = watch.bytes()
    del block
    assert peak > size
    assert PeakMemory().bytes() < peak - size // 2
