import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_folders import put, rows_of, write_image

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.hashes import content_hashes
from debias_pipeline.biased_data.manifest import make_manifest
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
    assert content_hashes(images, manifest, ["cat", "dog"]).content.startswith("6b63f6b7e9894ebc")
    moved = manifest.assign(source=["x", "y", "z", "w"], camera=1)
    assert (
        content_hashes(images, moved, ["cat", "dog"]).content
        == content_hashes(images, manifest, ["cat", "dog"]).content
    )


def test_every_column_pixels_shape_and_label_names_count():
    images, manifest = small_set()
    other = images.copy()
    other[3, 1, 2, 2] ^= 1
    columns = {
        "split": ["train", "valid", "train", "test"],
        "label": np.array([0, 1, 1, 1], np.int16),
        "bias": np.array([0, 1, 0, 1], np.int16),
        "conflicting": pd.array([False, False, False, True], "boolean"),
    }
    names = [["a", "b"], ["b", "a"], ["a", "b, c"], ["a, b", "c"]]
    hashes = [
        content_hashes(other, manifest, names[0]).content,
        content_hashes(images.reshape(4, 3, 2, 3), manifest, names[0]).content,
        *(content_hashes(images, manifest, each).content for each in names),
        *(
            content_hashes(images, manifest.assign(**{key: columns[key]}), names[0]).content
            for key in columns
        ),
    ]
    assert len(set(hashes)) == len(hashes) == 10


def test_the_hash_of_the_images_depends_on_nothing_else():
    images, manifest = small_set()
    of_images = content_hashes(images, manifest, ["cat", "dog"]).images
    relabelled = manifest.assign(label=np.array([0, 1, 1, 1], np.int16))
    assert content_hashes(images, relabelled, ["a", "b"]).images == of_images
    others = images ^ 1, images.reshape(4, 3, 2, 3)
    assert of_images not in [content_hashes(each, manifest, ["a", "b"]).images for each in others]


def test_the_data_card_has_both_hashes_and_is_the_same_for_the_same_data(small_dir):
    put(small_dir, rows_of())
    built = [
        build_data("folder", "2pct", str(small_dir), seed, {}, lambda bad: "") for seed in (0, 0, 1)
    ]
    images, manifest, card, _ = built[0]
    assert card["content_hash"] == content_hashes(images, manifest, card["label_names"]).content
    assert card["raw_hash"] == folder_hash(small_dir)
    assert card["images_hash"] == content_hashes(images, manifest, []).images
    assert card == built[1][2]
    assert card["content_hash"] != built[2][2]["content_hash"]
    assert card["raw_hash"] == built[2][2]["raw_hash"]


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


CHANGES = {
    "replaced": lambda path: replace_same_size(path),
    "renamed": lambda path: path.rename(path.with_name("x.png")),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("with_table", [True, False])
def test_a_change_among_own_images_is_noticed(small_dir, change, with_table):
    if with_table:
        put(small_dir, rows_of())
    before = folder_hash(small_dir)
    assert folder_hash(small_dir) == before
    CHANGES[change](small_dir / "images/3.png")
    assert folder_hash(small_dir) != before


def test_a_changed_table_is_noticed_and_other_files_and_another_place_are_not(
    small_dir, monkeypatch
):
    put(small_dir, rows_of())
    monkeypatch.setattr("PIL.Image.open", None)  # no second look at the pixels
    before = folder_hash(small_dir)
    (small_dir / "notes.txt").write_text("no image")
    write_image(small_dir / "not listed", "png", 1, (8, 6))
    assert folder_hash(small_dir) == before
    moved = small_dir.rename(small_dir.parent / "elsewhere")
    assert folder_hash(moved) == before
    put(moved, rows_of(label=["camel", "camel", "cow"]))
    assert folder_hash(moved) != before


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
