"""Every type of dataset reads and writes any store that fsspec knows, here one in memory."""

import importlib
import sys
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import Version

from debias_pipeline.errors import UserError
from debias_pipeline.io import (
    AtomicJSONDataset,
    AtomicParquetDataset,
    AtomicTextDataset,
    ImageArrayDataset,
    SafetensorsDataset,
    local_file,
    location,
)

IMAGES = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
TENSORS = {"tensors": {"a": torch.arange(6.0)}, "metadata": {"method": "disent"}}
FRAME = pd.DataFrame({"step": [0, 500], "loss": [2.3, 0.1]})
KINDS = [
    (AtomicJSONDataset, {"accuracy": 0.5}, {"a": 1, "b": float("nan")}),
    (AtomicParquetDataset, FRAME, pd.DataFrame({"a": [1, "x"]})),
    (AtomicTextDataset, "<html>±</html>", 5),
    (ImageArrayDataset, IMAGES, IMAGES.astype(float)),
    (SafetensorsDataset, TENSORS, {"tensors": {}, "metadata": {"a": object()}}),
]


@pytest.fixture
def store(monkeypatch, tmp_path):
    """An empty store in memory, and an empty folder for copies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    if filesystem.exists("/bucket"):
        filesystem.rm("/bucket", recursive=True)


def same(first, second) -> bool:
    if isinstance(first, pd.DataFrame):
        return first.equals(second)
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    if isinstance(first, dict) and "tensors" in first:
        return torch.equal(first["tensors"]["a"], second["tensors"]["a"])
    return first == second


@pytest.mark.parametrize(("kind", "data"), [each[:2] for each in KINDS])
@pytest.mark.parametrize("version", [None, Version(None, "v1")])
def test_round_trip(store, kind, data, version):
    dataset = kind(filepath="memory:///bucket/deep/file.x", version=version)
    assert not dataset.exists()
    dataset.save(data)
    assert dataset.exists()
    assert same(dataset.load(), data)
    name = "/bucket/deep/file.x/v1/file.x" if version else "/bucket/deep/file.x"
    assert store.find("/bucket") == [name]
    assert location(dataset) == f"memory://{name}"
    with local_file(dataset) as path:
        assert path.read_bytes() == store.cat(name)


@pytest.mark.parametrize(("kind", "data"), [each[:2] for each in KINDS])
def test_the_latest_version_is_loaded(store, kind, data):
    for name in ("v1", "v2"):
        kind(filepath="memory:///bucket/file.x", version=Version(None, name)).save(data)
    latest = kind(filepath="memory:///bucket/file.x", version=Version(None, None))
    assert latest.resolve_load_version() == "v2"
    assert same(latest.load(), data)


@pytest.mark.parametrize(("kind", "good", "bad"), KINDS)
def test_a_failed_save_leaves_what_was_there(store, kind, good, bad):
    dataset = kind(filepath="memory:///bucket/file.x")
    dataset.save(good)
    with pytest.raises(DatasetError):
        dataset.save(bad)
    assert same(dataset.load(), good)
    assert store.find("/bucket") == ["/bucket/file.x"]


@pytest.mark.parametrize("kind", [ImageArrayDataset, SafetensorsDataset])
def test_a_missing_file_is_named_by_its_url(store, kind):
    store.mkdir("/bucket")
    with pytest.raises(DatasetError, match=r"memory://.*file.x does not exist; run"):
        kind("memory:///bucket/file.x").load()


def test_images_are_downloaded_once_and_again_when_they_changed(store, tmp_path, monkeypatch):
    downloads = []
    get_file = store.get_file
    monkeypatch.setattr(
        type(store), "get_file", lambda _, *paths: downloads.append(paths) or get_file(*paths)
    )
    dataset = ImageArrayDataset("memory:///bucket/images.npy")
    dataset.save(IMAGES)
    first = dataset.load()
    assert isinstance(first, np.memmap)
    assert not first.flags.writeable
    ImageArrayDataset("memory:///bucket/images.npy").load()
    assert len(downloads) == 1
    ImageArrayDataset("memory:///bucket/images.npy").save(IMAGES + 1)
    assert np.array_equal(dataset.load(), IMAGES + 1)
    assert len(downloads) == 2
    # What is mapped already stays as it was; the folder holds the newest state only.
    assert np.array_equal(first, IMAGES)
    (copy,) = (tmp_path / "cache" / "debias_pipeline").iterdir()
    assert copy.read_bytes() == store.cat("/bucket/images.npy")


def test_an_interrupted_download_leaves_no_copy(store, tmp_path, monkeypatch):
    dataset = ImageArrayDataset("memory:///bucket/images.npy", cache_dir=tmp_path / "copies")
    dataset.save(IMAGES)

    def lose_connection(_, remote, local):
        Path(local).write_bytes(b"half")
        raise ConnectionError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "get_file", lose_connection)
        with pytest.raises(DatasetError, match="connection lost"):
            dataset.load()
    assert list((tmp_path / "copies").iterdir()) == []
    assert np.array_equal(dataset.load(), IMAGES)


def test_local_paths_are_not_copied(tmp_path):
    dataset = ImageArrayDataset(filepath=(tmp_path / "images.npy").as_uri())
    dataset.save(IMAGES)
    assert Path(dataset.load().filename) == tmp_path / "images.npy"
    assert location(dataset) == str(tmp_path / "images.npy")
    with local_file(dataset) as path:
        assert path == tmp_path / "images.npy"


@pytest.mark.parametrize("kind", [ImageArrayDataset, SafetensorsDataset, AtomicJSONDataset])
def test_the_missing_library_is_named_in_one_line(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    loaded = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(loaded, "s3", raising=False)
    with pytest.raises(UserError, match=r"s3fs; pip install 'debias-pipeline\[s3\]'"):
        kind(filepath="s3://bucket/file.x")
    with pytest.raises(UserError, match=r"nowhere:// cannot be opened"):
        ImageArrayDataset("nowhere://bucket/file.x")


def test_credentials_and_fs_args_come_from_the_catalog(store):
    entry = {
        "type": "debias_pipeline.io.ImageArrayDataset",
        "filepath": "memory:///bucket/images.npy",
        "credentials": "mine",
        "fs_args": {"use_listings_cache": False},
        "versioned": True,
    }
    catalog = DataCatalog.from_config(
        {"images": entry}, credentials={"mine": {"asynchronous": False}}, save_version="v1"
    )
    catalog.save("images", IMAGES)
    assert np.array_equal(catalog.load("images"), IMAGES)
    options = catalog["images"]._fs.storage_options
    assert options == {"use_listings_cache": False, "asynchronous": False}
