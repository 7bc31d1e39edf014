"""A trial: what training and evaluation give, or an outcome with the reason of its failure."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.framework.hooks.manager import _NullPluginManager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node
from kedro.runner.task import Task

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import AlreadyRunningError, Unreadable, UserError
from debias_pipeline.grid import LenientCatalog, Trial, create_pipelines, run_trial
from debias_pipeline.grid.memory import PeakMemory
from debias_pipeline.io import AtomicJSONDataset, AtomicParquetDataset
from debias_pipeline.io.snapshots import SnapshotStore
from debias_pipeline.pipelines.evaluation.nodes import evaluate, predict_test
from debias_pipeline.pipelines.training.nodes import train_method

RECIPE = {
    "method": "vanilla", "network": "mlp", "lr": 0.01, "batch_size": 32, "steps": 4,
    "eval_every": 2,
}  # fmt: skip
STORE = SnapshotStore("memory://snapshots", {})
SIZES = {"train": 64, "valid": 20, "test": 30}
NAME = "cmnist_mini_2pct.vanilla"
TRAIN = "debias_pipeline.tracked_training.train"


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
        "bias_name": digits.bias_name,
        "bias_names": [*digits.bias_names],
    }  # fmt: skip
    images = random.integers(0, 256, (total, 6, 6, 3), dtype=np.uint8)
    return images, manifest, card


def run(data, *, recipe=RECIPE, threads="auto", problem=None, without=(), earlier=None):
    """What a trial leaves, by the names of its entries."""
    trial = Trial(
        *("cmnist_mini", "2pct", "vanilla", (5, 6), "fp32", recipe, []),
        *["cmnist_mini/2pct"] * 2,
        threads,
    )
    parameters = {
        "cmnist_mini_2pct.dataset": "cmnist_mini", "cmnist_mini_2pct.percent": "2pct",
        f"{NAME}.recipe": recipe, "benchmark.seed": 5, "benchmark.seeds": 2, "device": "cpu",
        "benchmark.precision": "fp32", "benchmark.threads": threads, "resume": False,
    }  # fmt: skip
    given = dict(zip(("images", "manifest", "data_card"), data, strict=True))
    values = {
        **{f"params:{name}": value for name, value in parameters.items()},
        **{f"cmnist_mini_2pct.{name}": each for name, each in given.items() if name not in without},
        f"{NAME}.snapshots": STORE,
        **{f"{NAME}.{name}": value for name, value in (earlier or {}).items()},
    }
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in values.items()})
    pipeline = create_pipelines([trial])["benchmark"].filter(node_namespaces=[NAME])
    nodes = [each for each in pipeline.nodes if not earlier or each.name != f"{NAME}.train"]
    for name in pipeline.all_outputs() - values.keys():
        catalog[name] = MemoryDataset()

    def execute(node, catalog):
        Task(node, catalog, False, _NullPluginManager()).execute()

    run_trial(trial, nodes, catalog, execute, problem)
    return {
        name.removeprefix(f"{NAME}."): catalog.load(name)
        for name in pipeline.all_outputs()
        if catalog.exists(name)
    }


def test_a_trial_gives_what_training_and_evaluation_give(data):
    trial = run(data)
    checkpoint, history, weights, record = train_method(
        *data, STORE, RECIPE, 5, 2, "cpu", "fp32", "auto", False
    )
    predictions = predict_test(data[0], data[1], checkpoint, data[2], "cpu", "fp32")
    metrics, groups, _ = evaluate(predictions, data[1], weights, data[2], record)
    assert trial["metrics"] == metrics
    pd.testing.assert_frame_equal(trial["group_accuracy"], groups)
    pd.testing.assert_frame_equal(trial["predictions"], predictions)
    speed = "images_per_second"
    pd.testing.assert_frame_equal(trial["history"].drop(columns=speed), history.drop(columns=speed))
    tensors = trial["checkpoint"]["tensors"]
    assert all(torch.equal(tensors[name], each) for name, each in checkpoint["tensors"].items())


def test_the_outcome_says_what_was_run_and_what_it_cost(data):
    trial = run(data)
    outcome = trial["outcome"]
    assert trial["training_record"]["seconds"] < outcome.pop("seconds") < 60
    assert outcome.pop("settings_digest") == trial["training_record"]["settings_digest"]
    assert outcome.pop("content_hash") is None  # the data card has none
    assert outcome.pop("peak_memory_bytes") in (None, pytest.approx(1e9, rel=10))
    assert outcome == {
        "dataset": "cmnist_mini", "percent": "2pct", "method": "vanilla", "seeds": [5, 6],
        "precision": "fp32", "steps": 4, "status": "done", "error": None,
        "threads": torch.get_num_threads(), "mlflow_run_id": None, "mlflow_experiment_id": None,
        "image_passes": {"forward": 4 * 32, "backward": 4 * 32},
    }  # fmt: skip


def test_a_trial_that_another_process_trains_keeps_its_outcome(data, monkeypatch):
    def refuse(*arguments, **options):
        raise AlreadyRunningError("another process trains this trial")

    monkeypatch.setattr(TRAIN, refuse)
    with pytest.raises(AlreadyRunningError):
        run(data)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"problem": UserError("No raw data in data/01_raw")}, "No raw data in data/01_raw"),
        ({"recipe": {**RECIPE, "lr": 1e30}}, "try a smaller benchmark.overrides.lr"),
        ({"recipe": {**RECIPE, "batch_size": 100}}, "benchmark.overrides.batch_size=100 is larger"),
        ({"without": ("images",)}, "cmnist_mini_2pct.images"),
    ],
)
def test_a_trial_that_fails_leaves_an_outcome_with_the_reason(data, change, error, caplog):
    trial = run(data, **change)
    outcome = trial.pop("outcome")
    assert outcome["status"] == "failed"
    assert error in outcome["error"]
    assert outcome["settings_digest"] is None
    assert outcome["seconds"] > 0
    assert not trial
    assert caplog.messages == [f"{NAME} failed: {outcome['error']}; the run continues"]


def test_any_exception_fails_the_trial_alone(data, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(TRAIN, fail)
    error = run(data)["outcome"]["error"]
    assert error == "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"


def test_what_training_has_left_is_kept_if_evaluation_fails_and_used_again(data, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("full")

    with monkeypatch.context() as patched:
        patched.setattr("debias_pipeline.pipelines.evaluation.nodes.summarise", fail)
        failed = run(data)
    assert failed["outcome"]["settings_digest"] == failed["training_record"]["settings_digest"]
    assert "metrics" not in failed
    trained = ("checkpoint", "history", "sample_weights", "training_record")
    record = {**failed["training_record"], "seconds": 100.0}
    earlier = {**{name: failed[name] for name in trained}, "training_record": record}
    outcome = run(data, earlier=earlier)["outcome"]
    assert outcome["status"] == "done"
    assert outcome["seconds"] > 100


def test_an_interrupted_trial_has_no_outcome(data, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(TRAIN, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(data)


def test_a_trial_computes_with_its_own_threads_and_leaves_those_of_the_process(data):
    before = torch.get_num_threads()
    assert run(data, threads=2)["outcome"]["threads"] == 2
    assert torch.get_num_threads() == before


def test_damaged_data_fails_the_trial_and_names_the_file(tmp_path):
    (tmp_path / "manifest.parquet").write_bytes(b"damaged")
    manifest = AtomicParquetDataset(filepath=str(tmp_path / "manifest.parquet"))
    trial = Trial("cmnist", "1pct", "lff", (0,), "fp32", RECIPE, [], "cmnist/1pct", "cmnist/1pct")
    catalog = DataCatalog({"manifest": manifest, f"{trial.name}.outcome": MemoryDataset()})

    def execute(node, catalog):
        catalog.load("manifest")

    run_trial(trial, [node(print, "manifest", None, name="train")], catalog, execute)
    error = catalog.load(f"{trial.name}.outcome")["error"]
    assert str(tmp_path / "manifest.parquet") in error
    assert "\n" not in error


def test_a_lenient_catalog_gives_none_for_what_is_missing_and_says_what_cannot_be_read(tmp_path):
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "there.json").write_text(json.dumps({"a": 1}))
    names = ("damaged", "there", "missing")
    files = {name: AtomicJSONDataset(filepath=str(tmp_path / f"{name}.json")) for name in names}
    catalog = LenientCatalog(DataCatalog(files))
    assert catalog.load("missing") is None
    assert catalog.load("there") == {"a": 1}
    damaged = catalog.load("damaged")
    assert isinstance(damaged, Unreadable)
    assert str(tmp_path / "damaged.json") in damaged.reason and "\n" not in damaged.reason


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
