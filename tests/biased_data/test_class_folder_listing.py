import logging

import numpy as np
import pytest
from small_folders import build, refusal, write_image


def test_class_folders(tmp_path, caplog):
    for i in range(40):
        write_image(tmp_path / ("cat" if i % 2 else "dog/deep") / str(i), "png", i, (8, 6))
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / "README.md").touch()
    (tmp_path / ".git").mkdir()
    with caplog.at_level(logging.WARNING):
        data = build(tmp_path)
    assert "Passed over 2 files" in caplog.text
    assert data.images.shape == (40, 6, 8, 3)
    assert data.data_card["label_names"] == ["cat", "dog"]
    names = data.manifest["source"].str.split("/").str[0]
    assert (names == np.array(["cat", "dog"])[data.manifest["label"]]).all()
    assert data.manifest["split"].value_counts().to_dict() == {"train": 28, "test": 8, "valid": 4}


@pytest.mark.parametrize("valid", ["val", "valid", "validation", None])
def test_class_folders_in_split_folders(tmp_path, valid):
    for split in ("train", valid, "test"):
        for i in range(20 if split else 0):
            write_image(tmp_path / split / "ab"[i % 2] / str(i), "png", i, (8, 6))
    counts = build(tmp_path).manifest["split"].value_counts().to_dict()
    assert counts["test"] == 20
    assert counts["train"] + counts["valid"] == (40 if valid else 20)
    assert counts["valid"] == 20 if valid else 2 <= counts["valid"] <= 3


def test_a_class_may_be_called_train(tmp_path):
    for i in range(40):
        write_image(tmp_path / ("train" if i % 2 else "bus") / str(i), "png", i, (8, 6))
    assert build(tmp_path).data_card["label_names"] == ["bus", "train"]


def test_wrong_class_folders_are_told(tmp_path):
    for i in range(4):
        write_image(tmp_path / "raw" / "train" / "ab"[i % 2] / str(i), "png", i, (8, 6))
    raw_dir = tmp_path / "raw"
    (raw_dir / "extra").mkdir()
    (raw_dir / "test").mkdir()
    (raw_dir / "train" / "c").mkdir()
    (tmp_path / "outside").mkdir()
    (raw_dir / "train" / "d").symlink_to(tmp_path / "outside")
    (raw_dir / "train" / "a" / "loop").symlink_to(raw_dir / "train")
    message = refusal(raw_dir)
    for complaint in (
        "extra: is neither train, valid nor test",
        "test: the test split has no class folders",
        "train/c: no images",
        "train/d: leads out of raw_dir",
        "train/a/loop: is a link to a folder",
    ):
        assert message.count(complaint) == 1
