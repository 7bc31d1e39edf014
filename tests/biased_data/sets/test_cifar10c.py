import os
from pathlib import Path

import numpy as np
import pytest
import small_cifar10
import torchvision.datasets.cifar
from PIL import Image
from pydantic import ValidationError

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.corruptions import CORRUPTION_NAMES, corrupt
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sets.cifar10c import CorruptionOptions
from debias_pipeline.biased_data.sources.cifar10 import CLASS_NAMES
from debias_pipeline.errors import UserError


def build(raw_dir: Path, percent: str = "10pct", seed: int = 0, **options: int) -> BiasedData:
    return get_dataset("cifar10c").build(percent, raw_dir, seed, CorruptionOptions(**options))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", offline)


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory) -> Path:
    return small_cifar10.write_class_folders(tmp_path_factory.mktemp("cifar10"))


@pytest.fixture(scope="module")
def data(raw_dir) -> BiasedData:
    return build(raw_dir)


def test_splits_shapes_and_names(data):
    dataset = get_dataset("cifar10c")
    assert dataset.headline == "accuracy"
    assert (dataset.label_name, dataset.bias_name) == ("class", "corruption")
    assert (dataset.label_names, dataset.bias_names) == (CLASS_NAMES, CORRUPTION_NAMES)
    manifest = Manifest.validate(data.manifest)
    assert data.images.shape == (250, 32, 32, 3)
    assert data.images.dtype == np.uint8
    counts = {split: part["images"] for split, part in data.data_card["splits"].items()}
    assert counts == {"train": 180, "valid": 20, "test": 50}  # one training image in ten
    assert manifest["split"].drop_duplicates().tolist() == ["train", "valid", "test"]
    assert manifest["source"].is_unique
    assert (manifest["conflicting"] == (manifest["label"] != manifest["bias"])).all()
    test = manifest[manifest["split"] == "test"]
    assert 0.7 < test["conflicting"].mean() < 1  # any corruption, whatever the class
    assert test["bias"].nunique() > 7


@pytest.mark.parametrize(("percent", "train", "valid"), [("5pct", 9, 1), ("0pct", 0, 0)])
def test_exactly_percent_conflict(raw_dir, percent, train, valid):
    splits = build(raw_dir, percent).data_card["splits"]
    assert (splits["train"]["conflicting"], splits["valid"]["conflicting"]) == (train, valid)


def test_conflicting_images_get_any_of_the_nine_others(raw_dir):
    manifest = build(raw_dir, "100pct").manifest
    train = manifest[manifest["split"] == "train"]
    assert train["conflicting"].all()
    shift = (train["bias"] - train["label"]) % 10
    assert set(shift) == set(range(1, 10))


@pytest.mark.parametrize("severity", [4, 1])
def test_every_image_is_its_source_with_its_corruption(raw_dir, severity):
    made = build(raw_dir, severity=severity)
    assert "CIFAR-10 (class folders of images)" in made.data_card["origin"]
    assert f"severity {severity}" in made.data_card["origin"]
    # Those without chance can be made again.
    certain = [CORRUPTION_NAMES.index(name) for name in ("brightness", "contrast", "JPEG")]
    rows = made.manifest[made.manifest["bias"].isin(certain)]
    assert len(rows) > 30
    for row in rows.itertuples():
        assert Path(row.source).parts[1] == CLASS_NAMES[row.label]
        clean = np.asarray(Image.open(raw_dir / row.source))[None]
        again = corrupt(clean, CORRUPTION_NAMES[row.bias], severity, np.random.default_rng())
        assert np.array_equal(again[0], made.images[row.image_id])


def test_same_seed_same_bytes_other_seed_other_bytes(raw_dir, data, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    again = get_dataset("cifar10c").build("10pct", raw_dir, 0)  # severity 4 is the default
    assert data.images.tobytes() == again.images.tobytes()
    assert data.manifest.equals(again.manifest)
    assert data.images.tobytes() != build(raw_dir, seed=1).images.tobytes()


def test_severity_is_a_whole_number_from_1_to_5_and_part_of_the_folder(raw_dir):
    for severity in (0, 6, "4", 2.5, True):
        with pytest.raises(ValidationError):
            CorruptionOptions(severity=severity)
    folders = [
        get_dataset("cifar10c").folder("2pct", raw_dir, 0, CorruptionOptions(severity=severity))
        for severity in (3, 4, 5)
    ]
    assert folders == ["cifar10c/2pct_severity3", "cifar10c/2pct", "cifar10c/2pct_severity5"]


def test_published_set_goes_first_and_has_the_severity_it_has(tmp_path, make_published):
    raw_dir, packed = tmp_path / "raw", tmp_path / "packed"
    make_published(raw_dir, name="cifar10c")
    small_cifar10.pack(raw_dir, packed / "cifar10c.zip")  # not taken for CIFAR-10
    small_cifar10.write_class_folders(raw_dir)
    for folder in (raw_dir, packed):
        made = build(folder, "2pct")
        assert made.data_card["origin"].startswith("published folder layout")
        assert len(made.images) == 48
    with pytest.raises(UserError, match=r"severity=3 is not available"):
        build(raw_dir, "2pct", severity=3)


def test_wrong_percent_and_raw_dir_come_before_any_download(tmp_path):
    with pytest.raises(UserError, match="is not a percentage"):
        build(tmp_path / "nowhere", "2")
    with pytest.raises(UserError, match="does not exist"):
        build(tmp_path / "nowhere")


def test_a_contact_sheet_shows_every_corruption_at_every_severity(data):
    sheet = data.contact_sheet
    assert sheet is not None
    assert len(sheet.rows) == 10
    assert sheet.columns[:6] == ("clean", *(f"severity {each}" for each in range(1, 6)))
    height, width = sheet.pixels.shape[:2]
    assert abs(height / len(sheet.rows) - width / len(sheet.columns)) < 1
