"""What failed cells leave: nothing that could be taken for a result."""

import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError, Version
from kedro.validation.exceptions import DataValidationError

from debias_pipeline.errors import Hole
from debias_pipeline.io import HoleableDataset, OutcomeDataset, ProblemDataset

JSON = "debias_pipeline.io.AtomicJSONDataset"
VERSION = "2026-01-01T00.00.00.000Z"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder/file.json"


def holeable(path, **options):
    return HoleableDataset({"type": JSON, "filepath": str(path)}, **options)


def test_a_hole_leaves_no_file_and_is_loaded_as_none(path):
    dataset = holeable(path)
    dataset.save(Hole("out of memory"))
    assert not path.parent.exists()
    assert not dataset.exists()
    assert dataset.load() is None


def test_what_is_no_hole_is_saved_and_loaded(path):
    dataset = holeable(path)
    dataset.save({"accuracy": 0.5})
    assert dataset.exists()
    assert holeable(path).load() == {"accuracy": 0.5}
    assert dataset._get_load_path().name == path.name


def test_a_hole_leaves_what_was_there(path):
    dataset = holeable(path)
    dataset.save({"accuracy": 0.5})
    dataset.save(Hole("diverged"))
    assert dataset.load() == {"accuracy": 0.5}


def test_versions_are_those_of_the_dataset_inside(path):
    holeable(path, version=Version(None, VERSION)).save([1])
    assert (path / VERSION / path.name).is_file()
    again = holeable(path, version=Version(None, "2026-01-02T00.00.00.000Z"))
    assert again.exists() and again.load() == [1]


def test_what_cannot_be_read_is_an_error_or_a_hole_that_says_why(path):
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(DatasetError):
        holeable(path).load()
    hole = holeable(path, unreadable_is_hole=True).load()
    assert isinstance(hole, Hole)
    assert str(path) in hole.reason and "\n" not in hole.reason


def test_a_validator_holds_inside_too(tmp_path):
    entry = {
        "type": "debias_pipeline.io.AtomicParquetDataset",
        "filepath": str(tmp_path / "manifest.parquet"),
        "validator": "debias_pipeline.biased_data.manifest.Manifest",
    }
    wrong = pd.DataFrame({"image_id": np.arange(2)})
    with pytest.raises(DataValidationError, match="split"):
        HoleableDataset(entry).save(wrong)
    wrong.to_parquet(entry["filepath"])
    hole = HoleableDataset(entry, unreadable_is_hole=True).load()
    assert isinstance(hole, Hole) and "split" in hole.reason
    assert "validator" in entry


def test_only_a_cell_that_is_done_counts_as_there(path):
    dataset = OutcomeDataset(filepath=str(path))
    assert dataset.load() is None and not dataset.exists()
    dataset.save({"status": "failed", "error": "diverged"})
    assert not dataset.exists()
    assert dataset.load() == {"status": "failed", "error": "diverged"}
    dataset.save({"status": "done"})
    assert dataset.exists()


def test_the_latest_version_of_an_outcome_counts(path):
    for day, status in enumerate(("done", "failed"), start=1):
        version = Version(None, f"2026-01-0{day}T00.00.00.000Z")
        OutcomeDataset(filepath=str(path), version=version).save({"status": status})
    latest = OutcomeDataset(filepath=str(path), version=Version(None, None))
    assert latest.load() == {"status": "failed"} and not latest.exists()


def test_a_problem_is_noted_while_it_lasts(tmp_path):
    path = tmp_path / "folder/problem.txt"
    dataset = ProblemDataset(filepath=str(path))
    assert dataset.exists() and dataset.load() == ""
    dataset.save("No raw data")
    assert path.is_file() and not dataset.exists() and dataset.load() == "No raw data"
    dataset.save("")
    assert not path.exists() and dataset.exists() and dataset.load() == ""


def test_an_outcome_is_plain_json(path):
    OutcomeDataset(filepath=str(path)).save({"status": "done", "error": None})
    assert json.loads(path.read_text()) == {"status": "done", "error": None}
