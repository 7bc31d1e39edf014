from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_cifar10 import pack

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.base import DataOptions
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sets import bar
from debias_pipeline.errors import UserError

ACTIONS = ("climbing", "diving", "fishing", "racing", "throwing", "pole vaulting")


def write(path: Path, value: int = 100, size: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)


@pytest.fixture
def raw_dir(tmp_path) -> Path:
    """Eight training images and one test image per action, in the authors' layout."""
    folder = tmp_path / "raw/bar"
    for label, action in enumerate(ACTIONS):
        for number in range(8):
            write(folder / f"train/{action}_{number}.jpg", 30 * label, (20 + number, 30))
        write(folder / f"test/{action}_9.jpg", 30 * label)
    (folder / "metadata.json").write_text("{}")
    return tmp_path / "raw"


@pytest.fixture
def percent_dir(tmp_path) -> Path:
    """BiasEnsemble's layout; the bias in the names of training images is that of no place."""
    folder = tmp_path / "be/bar"
    for label in range(6):
        write(folder / f"train/align/{label}/1{label}_{label}_0.jpg")
        write(folder / f"train/conflict/1pct/{label}/2{label}_{label}_{label}.jpg")
        write(folder / f"train/conflict/5pct/{label}/3{label}_{label}_{label}.jpg")
        write(folder / f"valid/{label}/4{label}_{label}_{label}.jpg")
        write(folder / f"test/{label}/5{label}_{label}_{(label + 2) % 6}.jpg")
    return tmp_path / "be"


def build(raw_dir: Path, name: str = "bar", percent: str = "2pct", seed: int = 0) -> BiasedData:
    return get_dataset(name).build(percent, raw_dir, seed)


def refusal(raw_dir: Path, name: str = "bar", percent: str = "2pct") -> str:
    with pytest.raises(UserError) as caught:
        build(raw_dir, name, percent)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_training_images_have_no_bias_labels_and_test_images_conflict(raw_dir):
    data = build(raw_dir)
    manifest = Manifest.validate(data.manifest)
    assert data.images.shape == (54, 224, 224, 3)
    counts = manifest["split"].value_counts()
    assert (counts["train"], counts["valid"], counts["test"]) == (42, 6, 6)
    test = manifest["split"] == "test"
    assert manifest.loc[test, "conflicting"].all()
    assert {data.data_card["bias_names"][each] for each in manifest.loc[test, "bias"]} == {
        "another place"
    }
    assert manifest.loc[~test, "conflicting"].isna().all()
    assert (manifest.loc[~test, "bias"] == -1).all()
    vaulting = manifest["source"].str.contains("/pole vaulting_")
    assert vaulting.sum() == 9
    assert (manifest.loc[vaulting, "label"] == ACTIONS.index("pole vaulting")).all()
    assert abs(data.images[:, 0, 0, 0] - 30.0 * manifest["label"]).max() < 6
    assert get_dataset("bar").lacks_bias_labels(raw_dir, DataOptions())


def test_the_valid_split_depends_on_the_seed_only(raw_dir):
    first, again, other = (build(raw_dir, seed=seed).manifest for seed in (0, 0, 1))
    assert first.equals(again)
    assert set(first["source"]) == set(other["source"])
    assert not first["source"].equals(other["source"])


def test_a_clone_and_a_downloaded_archive_are_read(raw_dir, tmp_path, monkeypatch):
    expected = build(raw_dir)
    server = tmp_path / "server/BAR.tar.gz"
    pack(raw_dir / "bar", server, "BAR-b12b7c0")
    monkeypatch.setattr(bar, "URL", server.as_uri())
    empty = tmp_path / "data/01_raw"
    (raw_dir / "bar").rename(raw_dir / "BAR-master")
    for place in (raw_dir, raw_dir / "BAR-master", empty):
        data = build(place)
        assert data.manifest.equals(expected.manifest)
        assert np.array_equal(data.images, expected.images)
    assert [path.name for path in empty.iterdir()] == ["bar.tar.gz"]


def test_unknown_actions_damaged_files_and_a_missing_split_are_named(raw_dir):
    folder = raw_dir / "bar"
    write(folder / "train/dancing_0.jpg")
    (folder / "train/racing_0.jpg").write_bytes(b"")
    for path in (folder / "test").iterdir():
        path.unlink()
    message = refusal(raw_dir)
    assert "3 problems" in message
    assert "bar/train/dancing_0.jpg: the name is not <action>_<number>.jpg" in message
    assert "bar/train/racing_0.jpg: is empty" in message
    assert "bar/test: no images" in message


def test_percent_folders_tell_which_training_images_conflict(percent_dir):
    data = build(percent_dir, "bar_be", "5pct")
    manifest = Manifest.validate(data.manifest)
    assert data.data_card["splits"]["train"] == {
        "images": 12, "conflicting": 6, "conflicting_fraction": 0.5,
    }  # fmt: skip
    assert not manifest["source"].str.contains("1pct").any()
    by_split = manifest.groupby("split")["conflicting"].mean()
    assert (by_split["valid"], by_split["test"]) == (0, 1)
    # The bias is the place of the action, or another one.
    assert manifest["bias"].tolist() == [
        6 if row.conflicting else row.label for row in manifest.itertuples()
    ]


def test_archive_of_the_percents(percent_dir, tmp_path):
    expected = build(percent_dir, "bar_be", "1pct")
    pack(percent_dir / "bar", tmp_path / "packed/bar.zip", "bar")
    assert build(tmp_path / "packed", "bar_be", "1pct").manifest.equals(expected.manifest)
    assert "dataset=bar_be" in refusal(tmp_path / "packed")


def test_the_other_layout_and_other_percents_are_explained(raw_dir, percent_dir):
    assert "dataset=bar_be,percent=1pct" in refusal(percent_dir)
    assert "choose one of 1pct, 5pct" in refusal(percent_dir, "bar_be")
    assert "kakaoenterprise/BiasEnsemble" in refusal(raw_dir, "bar_be")
