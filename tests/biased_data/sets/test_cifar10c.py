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


def test_what_it_is():
    dataset = get_dataset("cifar10c")
    assert dataset.headline == "accuracy"
    assert (dataset.label_name, dataset.bias_name) == ("class", "corruption")
    assert dataset.label_names == CLASS_NAMES
    assert dataset.bias_names == CORRUPTION_NAMES


def test_splits_and_shapes(data):
    Manifest.validate(data.manifest)
    assert data.images.shape == (250, 32, 32, 3)
    assert data.images.dtype == np.uint8
    counts = {split: part["images"] for split, part in data.data_card["splits"].items()}
    assert counts == {"train": 180, "valid": 20, "test": 50}  # one training image in ten
    assert data.manifest["split"].drop_duplicates().tolist() == ["train", "valid", "test"]
    assert data.manifest["source"].is_unique


def test_origin_names_the_source_and_the_severity(raw_dir, data):
    assert "CIFAR-10 (class folders of images)" in data.data_card["origin"]
    assert "severity 4" in data.data_card["origin"]
    assert "severity 2" in build(raw_dir, severity=2).data_card["origin"]


@pytest.mark.parametrize(("percent", "train", "valid"), [("5pct", 9, 1), ("0pct", 0, 0)])
def test_exactly_percent_conflict(raw_dir, percent, train, valid):
    splits = build(raw_dir, percent).data_card["splits"]
    assert splits["train"]["conflicting"] == train
    assert splits["valid"]["conflicting"] == valid


def test_conflicting_images_get_any_of_the_nine_others(raw_dir):
    manifest = build(raw_dir, "100pct").manifest
    train = manifest[manifest["split"] == "train"]
    assert train["conflicting"].all()
    shift = (train["bias"] - train["label"]) % 10
    assert set(shift) == set(range(1, 10))


def test_test_split_draws_all_corruptions_whatever_the_class(data):
    test = data.manifest[data.manifest["split"] == "test"]
    assert 0.7 < test["conflicting"].mean() < 1
    assert test["bias"].nunique() > 7


def test_conflicting_is_label_against_bias(data):
    assert (data.manifest["conflicting"] == (data.manifest["label"] != data.manifest["bias"])).all()


@pytest.mark.parametrize("severity", [4, 1])
def test_every_image_is_its_source_with_its_corruption(raw_dir, severity):
    made = build(raw_dir, severity=severity)
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
    again, other = build(raw_dir), build(raw_dir, seed=1)
    assert data.images.tobytes() == again.images.tobytes()
    assert data.manifest.equals(again.manifest)
    assert data.images.tobytes() != other.images.tobytes()


def test_options_default_to_severity_4(raw_dir, data):
    plain = get_dataset("cifar10c").build("10pct", raw_dir, 0)
    assert plain.images.tobytes() == data.images.tobytes()


@pytest.mark.parametrize("severity", [0, 6, "4", 2.5, True])
def test_severity_must_be_a_whole_number_from_1_to_5(severity):
    with pytest.raises(ValidationError):
        CorruptionOptions(severity=severity)


def test_severities_are_filed_apart(raw_dir):
    dataset = get_dataset("cifar10c")
    folders = {
        dataset.folder("2pct", raw_dir, 0, CorruptionOptions(severity=severity))
        for severity in (3, 4, 5)
    }
    assert folders == {"cifar10c/2pct", "cifar10c/2pct_severity3", "cifar10c/2pct_severity5"}


def test_published_set_goes_first(tmp_path, make_published):
    small_cifar10.write_class_folders(tmp_path)
    make_published(tmp_path, name="cifar10c")
    made = build(tmp_path, "2pct")
    assert made.data_card["origin"] == "published folder layout"
    assert len(made.images) == 48


def test_published_set_in_an_archive_is_not_taken_for_cifar10(tmp_path, make_published):
    make_published(tmp_path / "unpacked", name="cifar10c")
    small_cifar10.pack(tmp_path / "unpacked", tmp_path / "raw/cifar10c.zip")
    assert len(build(tmp_path / "raw", "2pct").images) == 48


def test_published_set_has_the_severity_it_has(tmp_path, make_published):
    make_published(tmp_path, name="cifar10c")
    with pytest.raises(UserError, match=r"severity=3 is not available"):
        build(tmp_path, "2pct", severity=3)


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
