from pathlib import Path

import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import Version
from kedro_mlflow.io.artifacts import MlflowArtifactDataset

from debias_pipeline.files import replacing
from debias_pipeline.io import AtomicJSONDataset, AtomicParquetDataset, AtomicTextDataset

FRAME = pd.DataFrame({"step": [0, 500], "loss": [2.3, 0.1]})
KINDS = [
    (AtomicJSONDataset, {"accuracy": 0.5, "worst": None, "name": "Ünsworth"}),
    (AtomicParquetDataset, FRAME),
    (AtomicTextDataset, "<html>± 1 %</html>"),
]


def same(first, second) -> bool:
    return first.equals(second) if isinstance(first, pd.DataFrame) else first == second


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(("kind", "data"), KINDS)
@pytest.mark.parametrize("version", [None, Version(None, "v1")])
def test_round_trip_leaves_one_file(tmp_path, kind, data, version):
    dataset = kind(filepath=str(tmp_path / "deep" / "file.x"), version=version)
    assert not dataset.exists()
    dataset.save(data)
    assert dataset.exists()
    assert same(dataset.load(), data)
    assert files(tmp_path) == ["deep/file.x/v1/file.x" if version else "deep/file.x"]


@pytest.mark.parametrize(("kind", "data"), KINDS)
def test_versions_follow_one_another(tmp_path, kind, data):
    path = str(tmp_path / "file.x")
    kind(filepath=path, version=Version(None, "v1")).save(data)
    kind(filepath=path, version=Version(None, "v2")).save(data)
    latest = kind(filepath=path, version=Version(None, None))
    assert latest.resolve_load_version() == "v2"
    assert same(latest.load(), data)
    with pytest.raises(DatasetError, match="must not exist"):
        kind(filepath=path, version=Version(None, "v2")).save(data)


class Unwritable:
    def to_parquet(self, file, **_):
        file.write(b"half")
        raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (AtomicJSONDataset, {"a": 1}, {"a": 1, "b": float("nan")}),
        (AtomicJSONDataset, {"a": 1}, {"a": [1, 2, object()]}),
        (AtomicParquetDataset, FRAME, Unwritable()),
        (AtomicTextDataset, "old", 5),
    ],
)
def test_failed_save_leaves_the_old_file_whole(tmp_path, kind, good, bad):
    dataset = kind(filepath=str(tmp_path / "file.x"))
    dataset.save(good)
    with pytest.raises(DatasetError):
        dataset.save(bad)
    assert same(dataset.load(), good)
    assert files(tmp_path) == ["file.x"]
    dataset.save(good)


def test_failed_first_save_leaves_nothing(tmp_path):
    dataset = AtomicJSONDataset(
        filepath=str(tmp_path / "a" / "file.json"), version=Version(None, "v1")
    )
    with pytest.raises(DatasetError):
        dataset.save({"a": float("inf")})
    assert list(tmp_path.iterdir()) == []
    assert not dataset.exists()


def test_json_is_indented_utf8(tmp_path):
    AtomicJSONDataset(filepath=str(tmp_path / "m.json")).save({"a": "ü"})
    assert (tmp_path / "m.json").read_bytes() == '{\n  "a": "ü"\n}'.encode()


def test_catalog_may_still_set_arguments(tmp_path):
    entry = {
        "type": "debias_pipeline.io.AtomicJSONDataset",
        "filepath": str(tmp_path / "m.json"),
        "save_args": {"indent": None},
    }
    DataCatalog.from_config({"metrics": entry}).save("metrics", {"a": 1})
    assert (tmp_path / "m.json").read_text() == '{"a": 1}'


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize(("kind", "data"), KINDS)
def test_mlflow_logs_the_final_file(tmp_path, monkeypatch, kind, data, versioned):
    logged = []
    monkeypatch.setattr(
        mlflow, "log_artifact", lambda path, where: logged.append((path, Path(path).is_file()))
    )
    definition = {
        "type": f"debias_pipeline.io.{kind.__name__}",
        "filepath": str(tmp_path / "file.x"),
        "versioned": versioned,
    }
    dataset = MlflowArtifactDataset(dataset=definition)
    dataset.save(data)
    (only,) = files(tmp_path)
    assert only.count("file.x") == (2 if versioned else 1)
    assert logged == [((tmp_path / only).as_posix(), True)]
    assert same(dataset.load(), data)


def test_remote_stores_are_written_to_directly():
    dataset = AtomicTextDataset(filepath="memory://bucket/page.html")
    dataset.save("<html>")
    assert dataset.load() == "<html>"


def test_interrupted_write_is_cleaned_up(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert files(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_folders_that_others_use_meanwhile_stay(tmp_path):
    with pytest.raises(ValueError, match="late"), replacing(tmp_path / "a" / "b" / "file"):
        (tmp_path / "a" / "other").touch()
        raise ValueError("late")
    assert files(tmp_path) == ["a/other"]
    assert not (tmp_path / "a" / "b").exists()
