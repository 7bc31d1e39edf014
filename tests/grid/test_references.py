"""Which references a leaderboard shows, and what is written to their files."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, DatasetError
from kedro_datasets.partitions import PartitionedDataset

from debias_pipeline.errors import UserError
from debias_pipeline.grid import Trial, file_name, make_reference
from debias_pipeline.grid.references import Reference, read_references, with_references
from debias_pipeline.grid.trials import setting_name
from debias_pipeline.io import AtomicJSONDataset
from debias_pipeline.methods import get_method
from debias_pipeline.reporting import TrialResult

COMMIT = "0123456789" * 4


def reference(method: str = "lff", **changes: Any) -> Reference:
    steps = changes.pop("steps", 4000)
    fields: dict[str, Any] = {
        "dataset": "cmnist",
        "percent": "2pct",
        "method": method,
        "seeds": [0, 1],
        "precision": "fp32",
        "data_options": {},
        "data_seed": 0,
        "content_hash": "images",
        "recipe": {"method": method, "lr": 0.01, "steps": steps},
        "metrics": {"made of": method},
        "cost": {"seconds": 3.0, "peak_memory_bytes": None, "threads": 1, "steps": 4000},
        "commit": COMMIT,
        "machine": "2 cores, x86_64, cpu",
        "command": "kedro run --pipeline=benchmark",
        "date": "2026-11-26",
    }
    return Reference(**{**fields, **changes})


def trial(method: str = "lff", percent: str = "2pct", **changes: Any) -> Trial:
    recipe = {"method": method, "lr": 0.01, "steps": 4000}
    folders = dict.fromkeys(["data_folder", "images_folder"], f"cmnist/{percent}")
    options = {"recipe": recipe, "published_accuracy": [], **folders}
    fields = {"seeds": (0, 1), "precision": "fp32", **options, **changes}
    return Trial("cmnist", percent, method, **fields)


def outcome(status: str = "done", **changes: Any) -> Any:
    return {"status": status, "seeds": [0, 1], "content_hash": "images", **changes}


def result(trial: Trial, of_trial: Any = None) -> TrialResult:
    return TrialResult(trial.dataset, trial.percent, trial.method, outcome=of_trial)


def combined(
    own: list[tuple[Trial, Any]], *references: Reference, data_seed: int = 0
) -> dict[tuple[str, str], TrialResult]:
    results = [result(trial, of_trial) for trial, of_trial in own]
    found = with_references(results, [trial for trial, _ in own], references, data_seed)
    return {(each.percent, each.method): each for each in found}


MINE = trial("mine"), outcome()


def test_references_fill_what_the_grid_did_not_run_and_add_other_methods() -> None:
    failed = outcome("failed", error="no memory")
    found = combined(
        [MINE, (trial("lff"), None), (trial("disent"), failed)],
        reference("lff"),
        reference("disent"),
        reference("vanilla"),
    )
    assert [method for _, method in found] == ["mine", "lff", "disent", "vanilla"]
    origin = "commit 012345678901, 2 cores, x86_64, cpu, 2026-11-26"
    origins = {method: each.origin for (_, method), each in found.items()}
    assert origins == {"mine": "", "lff": origin, "disent": "", "vanilla": origin}
    assert found["2pct", "disent"].status == "failed"
    assert found["2pct", "vanilla"].valid_metrics == {"made of": "vanilla"}
    assert (found["2pct", "lff"].outcome or {})["steps"] == 4000


def test_a_reference_for_a_trial_has_the_changed_options_of_its_data() -> None:
    published = [
        {"accuracy": 0.3, "metric": "accuracy", "average_accuracy": None, "source": "a paper",
         "selection": "best_on_test", "seeds": 3, "note": ""}
    ]  # fmt: skip
    options = {"colour_noise": 0.5}
    changed = trial("lff", data_options=options, published_accuracy=published)
    mine = trial("mine", data_options=options), outcome()
    found = combined([mine, (changed, None)], reference("lff", data_options=options))
    (change,) = found["2pct", "lff"].recipe_changes
    assert change.used == 0.5


@pytest.mark.parametrize(
    ("changes", "data_seed", "shown"),
    [
        ({}, 0, True),
        ({}, 1, False),
        ({"percent": "5pct"}, 0, False),
        ({"dataset": "cifar10c"}, 0, False),
        ({"data_options": {"severity": 2}}, 0, False),
        # Shown, as the leaderboard says in what trials differ.
        ({"precision": "bf16", "seeds": [5], "steps": 10, "content_hash": "other"}, 0, True),
    ],
)
def test_references_of_other_settings_are_not_shown(
    changes: dict[str, Any], data_seed: int, shown: bool
) -> None:
    found = combined([MINE], reference(**changes), data_seed=data_seed)
    assert (("2pct", "lff") in found) is shown


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"steps": 4000, "precision": "bf16"}, {"steps": 50}),
        ({"precision": "fp32", "seeds": [7]}, {"precision": "bf16"}),
        ({"content_hash": "images"}, {"content_hash": "other", "date": "2026-12-01"}),
        ({"steps": 50, "content_hash": "images"}, {"steps": 4000, "content_hash": "other"}),
        ({"seeds": [0, 1], "date": "2020-01-01"}, {"seeds": [7]}),
        ({"date": "2026-12-01"}, {"date": "2026-11-30"}),
    ],
)
def test_of_several_references_the_most_similar_is_shown(
    better: dict[str, Any], worse: dict[str, Any]
) -> None:
    wanted = {"made of": "the better one"}
    pair = reference(**better, metrics=wanted), reference(**worse)
    for each in (pair, pair[::-1]):
        assert combined([MINE], *each)["2pct", "lff"].metrics == wanted


@pytest.mark.parametrize(
    ("changes", "content_hash", "compared"),
    [
        ({}, "images", True),
        ({"seeds": [5, 6, 7]}, "images", True),
        ({"steps": 50}, "images", False),
        ({"precision": "bf16"}, "images", False),
        ({}, "other images", False),
    ],
)
def test_a_trial_is_compared_with_a_reference_of_the_same_recipe_precision_and_images(
    changes: dict[str, Any], content_hash: str, compared: bool
) -> None:
    mine = outcome(content_hash=content_hash)
    found = combined([(trial("lff"), mine)], reference(**changes))["2pct", "lff"]
    assert found.origin == ""
    assert (found.reference is not None) is compared


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "a.json is not valid JSON"), ('{"sedes": [0]}', "seeds"), ("[]", "mapping")],
)
def test_an_invalid_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.json").write_text(text)
    folder = PartitionedDataset(
        path=str(tmp_path), dataset=AtomicJSONDataset, filename_suffix=".json"
    )
    with pytest.raises(UserError, match=r"a\.json") as raised:
        read_references(folder.load())
    assert words in str(raised.value)


def test_without_a_folder_there_are_no_references(tmp_path: Path) -> None:
    folder = PartitionedDataset(path=str(tmp_path / "none"), dataset=AtomicJSONDataset)
    assert not folder.exists()
    with pytest.raises(DatasetError):
        folder.load()
    assert read_references(None) == []


def test_those_of_the_repository_are_trials_that_can_be_repeated() -> None:
    folder = Path(__file__).parents[2] / "docs/reference"
    files = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    found = read_references({name: partial(dict, content) for name, content in files.items()})
    assert found
    for name, each in zip(sorted(files), found, strict=True):
        assert name.startswith(f"{setting_name(each.dataset, each.percent)}.{each.method}.")
        assert get_method(each.method).recipe_type.model_validate(each.recipe)
        assert (each.metrics["method"], each.metrics["seeds"]) == (each.method, each.seeds)
        assert each.metrics["percent"] == each.percent
        assert each.command.startswith("kedro run --pipelines=benchmark")


# --- What is written ------------------------------------------------------------------------------

TAGS = {
    "git_commit": COMMIT,
    "kedro_command": "kedro run --pipelines=benchmark '--params=raw_dir=/my data/x,device=cpu'",
}


def catalog_of(
    folder: Path, versions: dict[str, str], of_trial: Any, name_of_trial: str = "cmnist_2pct.lff"
) -> DataCatalog:
    contents = {
        "metrics": {"made of": "lff"},
        "training_record": {"recipe": trial().recipe, "device": "cpu"},
        "outcome": of_trial,
    }
    config = {
        f"{name_of_trial}.{name}": {
            "type": "debias_pipeline.io.AtomicJSONDataset",
            "filepath": str(folder / f"{name}.json"),
            "versioned": True,
        }
        for name in contents
    }
    for name, content in contents.items():
        version = versions.get(name, "2026-11-26T10.00.00.000Z")
        DataCatalog.from_config(config, save_version=version).save(
            f"{name_of_trial}.{name}", content
        )
    return DataCatalog.from_config(config)


DONE_OUTCOME = outcome(
    precision="fp32", seconds=3.0, peak_memory_bytes=None, threads=1, mlflow_run_id="run"
)


def test_a_finished_trial_is_written_with_what_is_needed_to_repeat_it(tmp_path: Path) -> None:
    made = make_reference(trial(), catalog_of(tmp_path, {}, DONE_OUTCOME), 0, lambda _: TAGS)
    assert made is not None
    assert (made.commit, made.date) == (COMMIT, "2026-11-26")
    assert made.cost == {"seconds": 3.0, "peak_memory_bytes": None, "threads": 1}
    assert made.machine.endswith(", cpu") and "cores" in made.machine
    assert made.command == "kedro run --pipelines=benchmark --params=raw_dir=...,device=cpu"
    assert read_references({"a": made.model_dump}) == [made]
    assert file_name(trial()) != file_name(trial(seeds=(0,)))


@pytest.mark.parametrize(
    ("versions", "tags", "words"),
    [
        ({}, {**TAGS, "git_commit": f"{COMMIT}-dirty"}, "commit all changes"),
        ({}, {}, "commit unknown"),
        ({"outcome": "2026-11-27T10.00.00.000Z"}, TAGS, "--only-missing-outputs"),
    ],
)
def test_a_trial_whose_code_is_not_known_is_refused(
    tmp_path: Path, versions: dict[str, str], tags: dict[str, str], words: str
) -> None:
    catalog = catalog_of(tmp_path, versions, DONE_OUTCOME)
    with pytest.raises(UserError, match=r"cmnist_2pct\.lff") as raised:
        make_reference(trial(), catalog, 0, lambda _: tags)
    assert words in str(raised.value)


def test_a_trial_that_failed_is_not_written(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, {}, outcome("failed"))
    assert make_reference(trial(), catalog, 0, lambda _: TAGS) is None


def test_published_sets_without_percents_have_references_and_own_images_none(
    tmp_path: Path,
) -> None:
    of_birds = replace(trial(percent="1pct"), dataset="waterbirds")
    catalog = catalog_of(tmp_path / "birds", {}, DONE_OUTCOME, "waterbirds.lff")
    made = make_reference(of_birds, catalog, 0, lambda _: TAGS)
    assert made is not None
    like = replace(of_birds, percent="2pct")
    [shown] = with_references([result(like)], [like], [made], 0)
    assert shown.origin == made.origin

    of_photos = replace(trial(), dataset="folder")
    catalog = catalog_of(tmp_path / "photos", {}, DONE_OUTCOME, "folder.lff")
    with pytest.raises(UserError, match=r"folder\.lff"):
        make_reference(of_photos, catalog, 0, lambda _: TAGS)
