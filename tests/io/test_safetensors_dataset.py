import pickle
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import Version
from safetensors.torch import save_file

from debias_pipeline.io import SafetensorsDataset

DATA = {
    "tensors": {
        "encoder.weight": torch.arange(6.0).reshape(2, 3),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "step": torch.tensor(7),
    },
    "metadata": {"method": "disent", "seeds": [0, 1], "recipe": {"lr": 0.01, "name": "é"}},
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tensors")


def assert_same(first, second):
    assert first["metadata"] == second["metadata"]
    assert set(first["tensors"]) == set(second["tensors"])
    for name, tensor in first["tensors"].items():
        assert tensor.dtype == second["tensors"][name].dtype
        assert torch.equal(tensor, second["tensors"][name])


@pytest.mark.slow
@settings(max_examples=25)
@given(metadata=st.dictionaries(st.text(), json_values, max_size=4))
def test_metadata_round_trips(folder, metadata):
    dataset = SafetensorsDataset(folder / "c.safetensors")
    data = {"tensors": {"a": torch.zeros(2)}, "metadata": metadata}
    dataset.save(data)
    assert_same(dataset.load(), data)
    assert [path.name for path in folder.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("version", [None, Version(None, "v1")])
def test_round_trip(tmp_path, version):
    dataset = SafetensorsDataset(str(tmp_path / "a" / "c.safetensors"), version=version)
    assert not dataset.exists()
    dataset.save(DATA)
    assert dataset.exists()
    loaded = dataset.load()
    assert_same(loaded, DATA)
    assert list(loaded) == ["tensors", "metadata"]


def test_others_may_read_the_file_as_they_may_read_any_file(tmp_path):
    (tmp_path / "other").touch()
    SafetensorsDataset(tmp_path / "c.safetensors").save(DATA)
    assert (tmp_path / "c.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_latest_version_is_loaded(tmp_path):
    path = tmp_path / "c.safetensors"
    SafetensorsDataset(path, Version(None, "v1")).save(DATA)
    newer = {"tensors": DATA["tensors"], "metadata": {"newer": True}}
    SafetensorsDataset(path, Version(None, "v2")).save(newer)
    assert SafetensorsDataset(path, Version(None, None)).load()["metadata"] == {"newer": True}
    assert SafetensorsDataset(path, Version("v1", None)).load()["metadata"] == DATA["metadata"]


def test_views_of_one_storage_and_parameters_can_be_saved(tmp_path):
    stacked = torch.arange(6.0).reshape(2, 3).requires_grad_()
    data = {"tensors": {"0": stacked[0], "1": stacked[1], "t": stacked.T}, "metadata": {}}
    dataset = SafetensorsDataset(tmp_path / "c.safetensors")
    dataset.save(data)
    assert_same(dataset.load(), data)


@pytest.mark.parametrize("keep", [0, 5, 60, -3])
def test_truncated_file_is_told_in_one_line(tmp_path, keep):
    path = tmp_path / "c.safetensors"
    SafetensorsDataset(path).save(DATA)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError, match="damaged") as caught:
        SafetensorsDataset(path).load()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(pickle.dumps({"tensors": {}}))
    with pytest.raises(DatasetError, match="damaged or not a safetensors"):
        SafetensorsDataset(path).load()
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(DatasetError, match="not written by this project"):
        SafetensorsDataset(path).load()
    save_file({"a": torch.zeros(1)}, path, metadata={"metadata": "{"})
    with pytest.raises(DatasetError, match="not written by this project"):
        SafetensorsDataset(path).load()
    save_file({"a": torch.zeros(1)}, path, metadata={"metadata": "[]"})
    with pytest.raises(DatasetError, match="not a mapping"):
        SafetensorsDataset(path).load()


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        SafetensorsDataset(tmp_path / "c.safetensors").load()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"tensors": {}}, "save {'tensors': …, 'metadata': …}"),
        ([1], "save {'tensors': …, 'metadata': …}"),
        ({"tensors": {"a": [1.0]}, "metadata": {}}, "a are not tensors"),
        ({"tensors": {}, "metadata": {"x": float("nan")}}, "metadata cannot be written as JSON"),
        ({"tensors": {}, "metadata": {"x": object()}}, "metadata cannot be written as JSON"),
    ],
)
def test_data_of_another_kind_is_an_error(tmp_path, data, problem):
    with pytest.raises(DatasetError, match=re.escape(problem)) as caught:
        SafetensorsDataset(tmp_path / "c.safetensors").save(data)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_versioned_in_the_catalog(tmp_path):
    entry = {
        "type": "debias_pipeline.io.SafetensorsDataset",
        "filepath": str(tmp_path / "c.safetensors"),
        "versioned": True,
    }
    catalog = DataCatalog.from_config({"checkpoint": entry}, save_version="v1")
    catalog.save("checkpoint", DATA)
    assert_same(catalog.load("checkpoint"), DATA)
    assert (tmp_path / "c.safetensors" / "v1" / "c.safetensors").is_file()
