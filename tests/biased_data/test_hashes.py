import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_folders import put, rows_of, write_image

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.hashes import content_hash
from debias_pipeline.biased_data.manifest import make_manifest
from debias_pipeline.biased_data.sets.folder import FolderOptions
from debias_pipeline.pipelines.ingestion.nodes import build_data


def small_set() -> tuple[np.ndarray, pd.DataFrame]:
    images = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
    manifest = make_manifest(
        split=["train", "train", "valid", "test"],
        label=[0, 1, 1, 0],
        bias=[0, 1, -1, 1],
        conflicting=[False, False, None, True],
        source=["a.png", "b.png", "c.png", "d.png"],
    )
    return images, manifest


# --- What training sees ---------------------------------------------------------------------------


def test_the_same_content_has_the_same_hash_on_every_machine():
    images, manifest = small_set()
    # Written down once: no byte order, platform or library version may change it.
    assert content_hash(images, manifest, ["cat", "dog"]).startswith("6b63f6b7e9894ebc")
    moved = manifest.assign(source=["x", "y", "z", "w"], camera=1)
    assert content_hash(images, moved, ["cat", "dog"]) == content_hash(
        images, manifest, ["cat", "dog"]
    )


@pytest.mark.parametrize(
    "column",
    [
        {"split": ["train", "valid", "train", "test"]},
        {"label": np.array([0, 1, 1, 1], np.int16)},
        {"bias": np.array([0, 1, 0, 1], np.int16)},
        {"conflicting": pd.array([False, False, False, True], "boolean")},
    ],
)
def test_every_column_of_the_manifest_counts(column):
    images, manifest = small_set()
    assert content_hash(images, manifest, ["a", "b"]) != content_hash(
        images, manifest.assign(**column), ["a", "b"]
    )


def test_pixels_shape_and_label_names_count():
    images, manifest = small_set()
    other = images.copy()
    other[3, 1, 2, 2] ^= 1
    hashes = [
        content_hash(images, manifest, ["a", "b"]),
        content_hash(other, manifest, ["a", "b"]),
        content_hash(images.reshape(4, 3, 2, 3), manifest, ["a", "b"]),
        content_hash(images, manifest, ["b", "a"]),
        content_hash(images, manifest, ["a", "b, c"]),
        content_hash(images, manifest, ["a, b", "c"]),
    ]
    assert len(set(hashes)) == len(hashes)


def test_the_data_card_has_both_hashes(small_dir):
    put(small_dir, rows_of())
    images, manifest, card, _ = build_data("folder", "2pct", str(small_dir), 0, {})
    assert card["content_hash"] == content_hash(images, manifest, card["label_names"])
    assert card["raw_hash"] == get_dataset("folder").raw_hash("2pct", small_dir, FolderOptions())


# --- Raw files ------------------------------------------------------------------------------------


def raw_hash(name: str, raw_dir: Path) -> str | None:
    dataset = get_dataset(name)
    return dataset.raw_hash("2pct", raw_dir, dataset.options_type())


def folder_hash(raw_dir: Path) -> str | None:
    return raw_hash("folder", raw_dir)


def replace_same_size(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


CHANGES = [
    lambda raw: replace_same_size(raw / "images/3.png"),
    lambda raw: (raw / "images/3.png").rename(raw / "images/x.png"),
    lambda raw: (raw / "images/3.png").unlink(),
]


@pytest.mark.parametrize("change", CHANGES, ids=["replaced", "renamed", "removed"])
@pytest.mark.parametrize("with_table", [True, False])
def test_a_change_among_own_images_is_noticed(small_dir, change, with_table):
    if with_table:
        put(small_dir, rows_of())
    before = folder_hash(small_dir)
    assert folder_hash(small_dir) == before
    change(small_dir)
    assert folder_hash(small_dir) != before


def test_a_changed_table_is_noticed_and_other_files_are_not(small_dir):
    put(small_dir, rows_of())
    before = folder_hash(small_dir)
    (small_dir / "notes.txt").write_text("no image")
    write_image(small_dir / "not listed", "png", 1, (8, 6))
    assert folder_hash(small_dir) == before
    put(small_dir, [row | {"label": "cow" if i else "camel"} for i, row in enumerate(rows_of())])
    assert folder_hash(small_dir) != before


def test_a_copy_elsewhere_with_its_times_has_the_same_hash(small_dir):
    put(small_dir, rows_of())
    before = folder_hash(small_dir)
    assert folder_hash(small_dir.rename(small_dir.parent / "elsewhere")) == before


def test_raw_files_that_are_gone_have_no_hash(small_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    assert folder_hash(tmp_path / "nowhere") is None
    for name in ("folder", "cmnist", "cifar10c", "bffhq"):
        assert raw_hash(name, tmp_path / "empty") is None
    assert raw_hash("cmnist_mini", small_dir) is None


def test_changes_of_published_files_are_noticed_for_their_percent_only(published_dir, make_png):
    before = raw_hash("cmnist", published_dir)
    make_png(published_dir / "cmnist" / "5pct" / "align" / "0" / "0_0_0.png")
    assert raw_hash("cmnist", published_dir) == before
    make_png(published_dir / "cmnist" / "2pct" / "align" / "0" / "99_0_0.png")
    assert raw_hash("cmnist", published_dir) != before


def test_other_files_of_mnist_are_noticed_and_times_do_not_count(mnist_dir, make_mnist):
    before = raw_hash("cmnist", mnist_dir)
    make_mnist(mnist_dir)
    assert raw_hash("cmnist", mnist_dir) == before
    path = mnist_dir / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"x")
    assert raw_hash("cmnist", mnist_dir) != before


@pytest.mark.parametrize("place", ["train/cat/0.png", "cifar10.zip", "cifar-10-batches-py/x"])
def test_files_of_cifar10_are_noticed_in_every_form(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"1")
    before = raw_hash("cifar10c", tmp_path)
    assert before
    (tmp_path / place).write_bytes(b"22")
    assert raw_hash("cifar10c", tmp_path) not in (None, before)


def test_hashing_takes_no_second_look_at_the_pixels_of_own_images(small_dir, monkeypatch):
    put(small_dir, rows_of())
    monkeypatch.setattr("PIL.Image.open", None)
    assert folder_hash(small_dir)


def test_the_card_of_another_build_of_the_same_data_is_the_same(small_dir):
    put(small_dir, rows_of())
    one, same = (build_data("folder", "2pct", str(small_dir), 0, {})[2] for _ in range(2))
    other = build_data("folder", "2pct", str(small_dir), 1, {})[2]
    assert one == same
    assert one["content_hash"] != other["content_hash"]
    assert one["raw_hash"] == other["raw_hash"]
