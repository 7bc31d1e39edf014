from pathlib import Path

import numpy as np
import pytest
import small_cifar10
from PIL import Image

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sets.textured_cifar import wave_textures
from debias_pipeline.biased_data.sources.cifar10 import CLASS_NAMES


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory) -> Path:
    return small_cifar10.write_class_folders(tmp_path_factory.mktemp("cifar10"))


def build(raw_dir: Path, percent: str = "10pct", seed: int = 0) -> BiasedData:
    return get_dataset("textured_cifar").build(percent, raw_dir, seed)


@pytest.fixture(scope="module")
def data(raw_dir) -> BiasedData:
    return build(raw_dir)


def test_cifar_images_are_in_the_centre_and_keep_their_class(data, raw_dir):
    manifest = Manifest.validate(data.manifest)
    # Of twenty training images per class, one in six is for validation.
    assert manifest["split"].value_counts().to_dict() == {"train": 170, "valid": 30, "test": 50}
    assert manifest["source"].is_unique
    vehicles = {"airplane", "automobile", "ship", "truck"}
    assert vehicles < set(CLASS_NAMES)
    for row in manifest.itertuples():
        split, name, _ = Path(row.source).parts
        assert (split == "test") == (row.split == "test")
        assert row.label == (name in vehicles)
        with Image.open(raw_dir / row.source) as image:
            assert np.array_equal(data.images[row.image_id, 8:40, 8:40], np.asarray(image))


def test_percent_of_each_label_conflicts_in_training_and_half_elsewhere(data):
    shares = data.manifest.groupby(["split", "label"])["conflicting"].agg(["sum", "size"])
    for (split, _), row in shares.iterrows():
        assert row["sum"] == round(row["size"] * (0.1 if split == "train" else 0.5))
    assert data.data_card["test_split"]["unbiased"]


def test_waves_change_across_and_not_along_their_direction():
    textures = wave_textures(np.array([0, 1] * 20, np.int16), 48, np.random.default_rng(0))
    levels = textures.astype(float).mean(axis=3)
    down, right = (np.abs(np.diff(levels, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
    assert np.mean((down > right) == [False, True] * 20) > 0.9


def test_same_seed_same_bytes(data, raw_dir):
    again, other = build(raw_dir), build(raw_dir, seed=1)
    assert np.array_equal(again.images, data.images)
    assert again.manifest.equals(data.manifest)
    assert not np.array_equal(other.images, data.images)
    assert data.contact_sheet is not None
    assert data.contact_sheet.pixels.shape == (4 * 48, 4 * 48, 3)
