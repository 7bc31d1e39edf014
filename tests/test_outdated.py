"""What belongs to other settings or other data, and so does not exist for a run."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.checksum import ImagesChecksum
from debias_pipeline.errors import UserError
from debias_pipeline.grid import ALL_DONE
from debias_pipeline.outdated import check_raw_data, check_trained_on, mark_outdated
from debias_pipeline.run_catalog import RunCatalog

RECIPE = {"method": "vanilla", "steps": 100, "lr": 0.1}
PARAMETERS: dict[str, Any] = {
    "dataset": "folder",
    "percent": "2pct",
    "data_options": {},
    "seed": 3,
    "seeds": 2,
    "precision": "fp32",
    "typed": {"dataset": "folder", "raw_dir": "my photos", "recipe": {"steps": 100}},
    "vanilla": {"recipe": RECIPE},
}
DATA = ("images", "manifest", "data_card", "data_figures")
TRAINED = ("checkpoint", "training_record")
JUDGED = ("metrics", "final_metrics")
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)
NAMES = (*DATA, *(f"vanilla.{name}" for name in (*TRAINED, *JUDGED, "report")), "comparison")
OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"


def checksum_of(images: Any) -> ImagesChecksum:
    checksum = ImagesChecksum(images.shape)
    checksum.add(images)
    return checksum


def run_nothing(*inputs: Any) -> Any:
    raise AssertionError(inputs)


INGESTION = node(run_nothing, "params:dataset", [*DATA], name="build_data")
TRAINING = node(
    run_nothing,
    ["images", "manifest", "data_card"],
    [f"vanilla.{name}" for name in TRAINED],
    name="train",
)
EVALUATION = node(
    run_nothing,
    ["images", "data_card", "vanilla.checkpoint"],
    [f"vanilla.{name}" for name in JUDGED],
    name="judge",
)
REPORTING = node(run_nothing, ["vanilla.metrics", "data_card"], "vanilla.report", name="report")
COMPARISON = node(run_nothing, "vanilla.metrics", "comparison", name="compare")
WHOLE = pipeline([INGESTION, TRAINING, EVALUATION, REPORTING, COMPARISON])
AFTER_TRAINING = pipeline([EVALUATION, REPORTING, COMPARISON])


class Run:
    """A run on results that an earlier one has left."""

    def __init__(self, path: Path) -> None:
        self.path, self.raw_dir = path, path / "raw"
        (self.raw_dir / "cat").mkdir(parents=True)
        (self.raw_dir / "cat" / "0.png").write_bytes(b"image")
        self.parameters = {**PARAMETERS, "raw_dir": str(self.raw_dir)}
        self.card = {
            "label_names": ["cat", "dog"],
            "image_shape": [8, 8, 3],
            "content_hash": "content",
            "raw_hash": self.raw_hash(),
            "images_hash": str(checksum_of(IMAGES)),
        }
        self.record = {
            "recipe": {**RECIPE},
            "seeds": [3, 4],
            "precision": "fp32",
            "data": {**self.card},
        }
        known = {
            "data_card": self.card,
            "images": IMAGES,
            "vanilla.training_record": self.record,
        }
        for name in NAMES:
            self.save(name, known.get(name, {}))

    def raw_hash(self) -> str | None:
        from debias_pipeline.biased_data import get_dataset

        dataset = get_dataset("folder")
        return dataset.raw_hash("2pct", self.raw_dir, dataset.options_type())

    def catalog(self, kind: type[DataCatalog] = RunCatalog, version: str = OLD) -> Any:
        entries = {
            name: {
                "type": "debias_pipeline.io.AtomicJSONDataset",
                "filepath": str(self.path / f"{name}.json"),
                "versioned": name not in DATA,
            }
            for name in NAMES
        }
        entries["images"] = {
            "type": "debias_pipeline.io.ImageArrayDataset",
            "filepath": str(self.path / "images.npy"),
            "data_card": {"filepath": str(self.path / "data_card.json")},
        }
        return kind.from_config(entries, save_version=version)

    def save(self, name: str, data: Any, version: str = OLD) -> None:
        self.catalog(version=version).save(name, data)

    def missing(self, run: Pipeline = WHOLE) -> tuple[set[str], list[str]]:
        """What does not exist for a run with --only-missing-outputs, and the reasons."""
        catalog = self.catalog(version=NEW)
        reasons = mark_outdated(run, catalog, self.parameters)
        missing = {name for name in run.all_outputs() if not catalog.exists(name)}
        return missing - {"vanilla.final_metrics"}, reasons


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


ALL_OF_METHOD = {*NAMES} - {*DATA, "vanilla.final_metrics"}


def test_results_of_the_same_settings_and_data_exist(run: Run):
    assert run.missing() == (set(), [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vanilla": {"recipe": {**RECIPE, "steps": 7}}}, "recipe.steps was 100 and is 7"),
        ({"vanilla": {"recipe": {**RECIPE, "new": 1}}}, "recipe.new was not set and is 1"),
        ({"seeds": 1}, "seeds was 3+4 and is 3"),
        ({"seed": 0}, "seeds was 3+4 and is 0+1"),
        ({"precision": "bf16"}, "precision was fp32 and is bf16"),
    ],
)
def test_results_of_other_settings_do_not_exist(run: Run, change, reason):
    run.parameters.update(change)
    missing, reasons = run.missing()
    assert missing == ALL_OF_METHOD
    assert [f"vanilla is trained again: {reason}"] == reasons


def test_results_from_another_weights_file_of_the_same_name_do_not_exist(run: Run):
    file = run.path / "weights.pt"
    file.write_bytes(b"first")
    recipe = {**RECIPE, "weights": str(file)}
    run.parameters["vanilla"] = {"recipe": recipe}
    digest = hashlib.sha256(b"first").hexdigest()
    (record,) = run.path.glob("vanilla.training_record.json/*/*.json")
    record.write_text(json.dumps(run.record | {"recipe": recipe, "weights_hash": digest}))
    assert run.missing() == (set(), [])
    file.write_bytes(b"second")
    missing, (reason,) = run.missing()
    assert missing == ALL_OF_METHOD
    assert "weights_hash" in reason


def test_results_without_a_readable_record_do_not_exist(run: Run):
    (run.path / "vanilla.training_record.json" / OLD / "vanilla.training_record.json").write_text(
        "{"
    )
    assert run.missing()[0] == ALL_OF_METHOD


def test_a_training_whose_data_is_not_recorded_does_not_count(run: Run):
    del run.record["data"]
    run.save("vanilla.training_record", run.record, NEW)
    run.save("vanilla.checkpoint", {}, NEW)
    missing, (reason,) = run.missing()
    assert missing == ALL_OF_METHOD
    assert "not recorded" in reason


def test_changed_raw_data_is_read_and_trained_on_again(run: Run):
    (run.raw_dir / "cat" / "1.png").write_bytes(b"another")
    missing, reasons = run.missing()
    assert missing == {*DATA} | ALL_OF_METHOD
    assert ["raw data has changed" in reason for reason in reasons] == [True, True]


def test_labels_of_other_images_are_made_again_and_not_read(run: Run):
    run.save("images", IMAGES + 1)
    missing, reasons = run.missing()
    assert missing == {*DATA} | ALL_OF_METHOD
    assert ["images have changed" in reason for reason in reasons] == [True, True]
    with pytest.raises(UserError, match=r"labels of raw .*other images.*--pipeline=ingestion"):
        check_trained_on(AFTER_TRAINING, run.catalog(), run.parameters)


@pytest.mark.parametrize("name", ["images.json", "data_card"])
def test_data_of_an_earlier_version_has_no_hash_of_its_images_and_is_read(run: Run, name: str):
    if name == "data_card":
        run.save(name, {key: value for key, value in run.card.items() if key != "images_hash"})
    else:
        (run.path / name).unlink()
    check_trained_on(AFTER_TRAINING, run.catalog(), run.parameters)
    assert run.missing() == (set(), [])


def test_a_data_set_made_anew_from_the_same_files_keeps_its_results(run: Run):
    for name in ("images.npy", *(f"{name}.json" for name in DATA)):
        (run.path / name).unlink()
    assert run.missing()[0] == {*DATA}


def test_results_on_other_content_do_not_exist(run: Run):
    run.save("data_card", {**run.card, "content_hash": "other"})
    missing, reasons = run.missing()
    assert missing == ALL_OF_METHOD
    assert reasons == ["vanilla is trained again: images or labels have changed"]


def test_raw_data_that_is_gone_says_nothing(run: Run):
    (run.raw_dir / "cat" / "0.png").unlink()
    (run.raw_dir / "cat").rmdir()
    assert run.missing() == (set(), [])


def test_a_report_need_not_follow_metrics_that_every_run_makes(run: Run):
    for name in JUDGED:
        run.save(f"vanilla.{name}", {}, NEW)
    assert run.missing() == (set(), [])


def test_what_follows_a_newer_training_does_not_exist(run: Run):
    for name in TRAINED:
        data = run.record if name == "training_record" else {}
        run.save(f"vanilla.{name}", data, NEW)
    after = {"vanilla.metrics", "vanilla.report", "comparison"}
    assert run.missing()[0] == after
    assert run.missing(AFTER_TRAINING)[0] == after


def test_outputs_of_an_interrupted_save_do_not_exist(run: Run):
    run.save("vanilla.checkpoint", {}, NEW)
    assert run.missing()[0] == ALL_OF_METHOD


def test_what_is_saved_exists_again(run: Run):
    run.parameters["seeds"] = 1
    catalog = run.catalog(version=NEW)
    mark_outdated(WHOLE, catalog, run.parameters)
    catalog.save("vanilla.metrics", {})
    assert catalog.exists("vanilla.metrics")
    assert not catalog.exists("vanilla.report")


def test_a_runner_with_a_catalog_of_its_own_is_refused(run: Run):
    run.parameters["seeds"] = 1
    with pytest.raises(UserError, match=r"--only-missing-outputs.*seeds"):
        mark_outdated(WHOLE, run.catalog(DataCatalog), run.parameters)


# --- Trials of a grid ---------------------------------------------------------------------------

TRIAL = "cmnist_1pct.vanilla"
GRID_PARAMETERS: dict[str, Any] = {
    "benchmark": {
        "datasets": ["cmnist"],
        "percents": ["1pct"],
        "methods": ["vanilla"],
        "seed": 0,
        "seeds": 1,
        "precision": "fp32",
        "threads": "auto",
    },
    "raw_dir": "nowhere",
    "data_seed": 0,
    "cmnist_1pct": {
        "dataset": "cmnist",
        "percent": "1pct",
        "data_options": {},
        "data_folder": "cmnist/1pct",
        "images_folder": "cmnist/1pct",
        "vanilla": {"recipe": RECIPE, "published_accuracy": []},
    },
}
CARD = {"label_names": [], "image_shape": [], "content_hash": "content", "raw_hash": None}


def test_trials_do_not_read_labels_of_other_images(run: Run):
    read = [f"cmnist_1pct.{name}" for name in ("images", "manifest", "data_card")]
    steps = pipeline([node(run_nothing, read, f"{TRIAL}.training_record", name="train")])
    catalog = run.catalog()
    for name in DATA:
        catalog[f"cmnist_1pct.{name}"] = catalog[name]
    check_trained_on(steps, catalog, GRID_PARAMETERS)
    run.save("images", IMAGES + 1)
    with pytest.raises(UserError, match=r"cmnist_1pct .*other images.*--pipeline=benchmark"):
        check_trained_on(steps, catalog, GRID_PARAMETERS)


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        ({"status": "done"}, set()),
        ({"status": "failed", "settings_digest": None}, {"train", "evaluate", "record_outcome"}),
        ({"status": "failed", "settings_digest": "12345678"}, {"evaluate", "record_outcome"}),
        (None, {"record_outcome"}),
    ],
)
def test_a_failed_trial_is_run_again_from_training_if_that_has_failed(
    tmp_path: Path, outcome: dict[str, Any] | None, again: set[str]
):
    trained, judged = f"{TRIAL}.training_record", f"{TRIAL}.metrics"
    steps = pipeline(
        [
            node(run_nothing, "params:raw_dir", "cmnist_1pct.data_card", name="build_data"),
            node(run_nothing, "cmnist_1pct.data_card", trained, name="train"),
            node(run_nothing, trained, judged, name="evaluate"),
            node(run_nothing, judged, f"{TRIAL}.outcome", name="record_outcome"),
            node(run_nothing, f"{TRIAL}.outcome", "leaderboard", name="rank", tags=[ALL_DONE]),
        ]
    )
    record = {"recipe": RECIPE, "seeds": [0], "precision": "fp32", "data": CARD}
    saved = {trained: record, judged: {}, "leaderboard": {}, f"{TRIAL}.outcome": outcome}

    def catalog(version: str) -> Any:
        entries = {
            name: {
                "type": "debias_pipeline.io.AtomicJSONDataset",
                "filepath": str(tmp_path / f"{name}.json"),
                "versioned": name != "cmnist_1pct.data_card",
            }
            for name in (*saved, "cmnist_1pct.data_card")
        }
        return RunCatalog.from_config(entries, save_version=version)

    earlier = catalog(OLD)
    earlier.save("cmnist_1pct.data_card", CARD)
    for name, data in saved.items():
        if data is not None:
            earlier.save(name, data)
    now = catalog(NEW)
    assert mark_outdated(steps, now, GRID_PARAMETERS) == []
    missing = {step.name for step in steps.nodes if not all(map(now.exists, step.outputs))}
    assert missing == again | {"rank"}


# --- Without making the data set or the training again ----------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("label_names", ["cat", "cow"], "cat, dog and are cat, cow"),
        ("image_shape", [9, 9, 3], "8, 8, 3 and are 9, 9, 3"),
        ("content_hash", "other", "images or labels have changed"),
    ],
)
def test_results_of_training_on_other_data_are_not_used(run: Run, key, value, reason):
    check_trained_on(AFTER_TRAINING, run.catalog(), run.parameters)
    run.save("data_card", {**run.card, key: value})
    with pytest.raises(
        UserError, match=f"vanilla was trained on other data.*{reason}.*train again"
    ) as caught:
        check_trained_on(AFTER_TRAINING, run.catalog(), run.parameters)
    *_, params = shlex.split(str(caught.value))
    assert params == "dataset=folder,raw_dir=my photos,recipe.steps=100,seed=3,seeds=2"
    check_trained_on(WHOLE, run.catalog(), run.parameters)


def test_changed_raw_data_that_is_not_read_again_is_told(run: Run):
    assert check_raw_data(AFTER_TRAINING, run.catalog(), run.parameters) is None
    (run.raw_dir / "cat" / "0.png").write_bytes(b"another image")
    warning = check_raw_data(AFTER_TRAINING, run.catalog(), run.parameters)
    assert warning
    assert "has changed" in warning
    assert "--pipeline=ingestion --params 'dataset=folder,raw_dir=my photos'" in warning
    assert check_raw_data(WHOLE, run.catalog(), run.parameters) is None


def test_raw_data_that_cannot_be_listed_is_told(run: Run):
    (run.raw_dir / "table.csv").write_text("nothing")
    warning = check_raw_data(AFTER_TRAINING, run.catalog(), run.parameters)
    assert warning
    assert "no column" in warning
