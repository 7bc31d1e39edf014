"""Images stay where they are: nothing is copied, and what memory cannot hold is read as needed."""

import ctypes
import mmap
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from debias_pipeline.evaluation import explain, map_features, predict, rank_suspects
from debias_pipeline.images import ImageData, available_memory, image_data, memory
from debias_pipeline.methods import Sampling, Task, get_method
from debias_pipeline.training import train
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.transforms import Transform
from recipe_fields import required_fields

CPU = torch.device("cpu")


def mapped_images(path: Path, count: int) -> np.memmap:
    shape = (count, 32, 32, 3)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    images[:] = np.random.default_rng(0).integers(0, 256, (count, 1, 1, 3), dtype=np.uint8)
    images.flush()
    return np.load(path, mmap_mode="r")


def manifest(count: int) -> pd.DataFrame:
    split = np.full(count, "train", dtype=object)
    split[-20:-10], split[-10:] = "valid", "test"
    label = np.arange(count) % 2
    conflicting = pd.array(label == 2, dtype="boolean")
    columns = {"split": split, "label": label, "bias": label, "conflicting": conflicting}
    return pd.DataFrame({"image_id": np.arange(count), **columns})


def own_memory() -> int:
    """Bytes that are this process's own, files that it maps left out."""
    return psutil.Process().memory_info().rss - psutil.Process().memory_info().shared


def test_training_copies_no_images(tmp_path):
    images = mapped_images(tmp_path / "images.npy", 15_000)
    on_device = ImageData.from_catalog(images, manifest(len(images)), CPU)
    assert np.shares_memory(on_device.images.numpy(), images)
    recipe = get_method("vanilla").recipe_type(
        method="vanilla", network="mlp", lr=0.01, batch_size=16, steps=10, eval_every=10
    )
    method = get_method("vanilla")(recipe, Task((32, 32, 3), 2, [0]))
    train(method, recipe, on_device)  # whatever is made once
    before = own_memory()
    train(method, recipe, on_device)
    assert own_memory() - before < images.nbytes / 2


@pytest.mark.parametrize(("available", "on_disk"), [(2.0, False), (1.2, True)])
def test_images_that_memory_cannot_hold_are_read_as_needed(
    tmp_path, monkeypatch, available, on_disk
):
    images = mapped_images(tmp_path / "images.npy", 100)
    monkeypatch.setattr(image_data, "available_memory", lambda: available * images.nbytes)
    of_catalog = ImageData.from_catalog(images, manifest(100), CPU)
    assert of_catalog.gathers_ahead is on_disk
    rows = torch.tensor([7, 99, 3])
    np.testing.assert_array_equal(of_catalog.gather(rows), images[[7, 99, 3]])


def test_images_that_a_device_cannot_hold_are_copied_to_it_batch_by_batch(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    images = mapped_images(tmp_path / "images.npy", 100)
    # Stands for a GPU: it has shapes and a device, but no content.
    device = torch.device("meta")
    monkeypatch.setattr(image_data, "free_device_memory", lambda _: images.nbytes)
    data = ImageData.from_catalog(images, manifest(100), device)
    ImageData.from_catalog(images, manifest(100), device)
    assert caplog.text.count("batch by batch") == 1
    assert np.shares_memory(data.images.numpy(), images)
    assert data.device == device
    batch = BatchStream(data, [0, 1], Sampling(16), Transform(crop_padding=1, flip=True)).next()
    assert (batch.images.device, batch.labels.device) == (device, device)
    assert batch.images.shape == (2, 16, 3, 32, 32)


def test_copied_images_are_evaluated_as_those_on_the_device(tmp_path):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, rows = mapped_images(tmp_path / "images.npy", 100), manifest(100)
    rows["source"] = [f"{number}.png" for number in range(100)]
    plain = ImageData.from_catalog(images, rows, device)
    copied = replace(ImageData.from_catalog(images, rows, CPU), copied_to=device)
    fields = {"method": "lff", "network": "mlp", "lr": 0.01, "batch_size": 16, "steps": 10}
    recipe = get_method("lff").recipe_type(**fields, eval_every=10, **required_fields("lff"))
    method = get_method("lff")(recipe, Task((32, 32, 3), 2, [0])).to(device).eval()
    weights = pd.DataFrame({"image_id": np.arange(80), "seed": 0, "weight": 0.5})
    weights[["loss_average_intrinsic", "loss_average_bias"]] = 1.0
    card = {"label_names": ["a", "b"], "bias_names": ["c", "d"]}

    some = torch.tensor([7, 99, 3], device=device)
    assert copied.gather(some).device.type == device.type
    assert torch.equal(copied.gather(some), plain.gather(some))
    for split in ("train", "test"):
        expected, found = (predict(method, data, split, "fp32") for data in (plain, copied))
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.bias_branch, expected.bias_branch)
    ranked, found = (
        rank_suspects(method, data, rows, weights, card, "fp32") for data in (plain, copied)
    )
    pd.testing.assert_frame_equal(found, ranked)
    for function, given in [(explain, [rows, ranked]), (map_features, [rows])]:
        expected, found = (function(method, data, *given)["tensors"] for data in (plain, copied))
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor), name


def test_freed_blocks_that_pytorch_keeps_count_as_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 30)
    assert memory.free_device_memory(torch.device("cuda")) == 140


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs Linux")
def test_images_asked_for_are_read_in_the_background(tmp_path):
    """Seen by the pages that are in memory afterwards, without any of them being touched."""
    images = mapped_images(tmp_path / "images.npy", 4096)
    with (tmp_path / "images.npy").open("rb") as file:
        os.fsync(file.fileno())
        del images
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    ahead = memory.ReadAhead(images)
    # Reading the header has brought in a few.
    before = resident_pages(images)
    if len(before) > 1000:
        pytest.skip("the file system keeps all pages in memory")
    ahead.request(torch.tensor([2000, 3000]))
    expected = {page for row in (2000, 3000) for page in pages_of(images, row)}
    until = time.monotonic() + 10
    while not expected <= resident_pages(images) and time.monotonic() < until:
        time.sleep(0.01)
    assert resident_pages(images) - before == expected - before


def pages_of(images: np.memmap, row: int) -> range:
    first = images.offset + row * images[0].nbytes
    return range(first // mmap.PAGESIZE, (first + images[0].nbytes - 1) // mmap.PAGESIZE + 1)


def resident_pages(images: np.memmap) -> set[int]:
    start = images.ctypes.data - images.offset
    size = images.nbytes + images.offset
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    library = ctypes.CDLL(None)
    assert library.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), pages) == 0
    return {number for number, page in enumerate(pages) if page & 1}


def test_available_memory_heeds_the_limit_of_a_container(tmp_path, monkeypatch):
    def available(groups: str) -> int:
        own = tmp_path / "cgroup"
        own.write_text(groups)
        monkeypatch.setattr(memory, "_OWN_CGROUPS", own)
        monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
        return available_memory()

    free = SimpleNamespace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    for folder, file, limit in [
        ("a/b", "memory.max", "max\n"),
        ("a", "memory.max", "600\n"),
        ("memory/c", "memory.limit_in_bytes", "700\n"),
        ("memory", "memory.limit_in_bytes", f"{2**63 - 4096}\n"),
    ]:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / file).write_text(limit)
    assert available("0::/a/b\n") == 600
    assert available("9:cpu:/x\n4:memory:/c\n") == 700
    assert available("4:memory:/seen/from/outside\n") == 1000
    free.available = 100
    assert available("0::/a/b\n") == 100
