import logging

import numpy as np
import pytest
from small_folders import build, refusal, write_image


def write_images(folder, count, place):
    """Write images to the place that a function says for each number."""
    for i in range(count):
        write_image(folder / place(i) / str(i), "png", i, (8, 6))


def test_class_folders(tmp_path, caplog):
    write_images(tmp_path, 40, lambda i: "cat" if i % 2 else "dog/deep")
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / "README.md").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").touch()
    with caplog.at_level(logging.WARNING):
        data = build(tmp_path)
    assert data.data_card["left_out"] == {
        "hidden": 1,
        "outside of class folders": 1,
        "not an image": 1,
    }
    assert "Left out 3 of 43 files" in caplog.text
    assert "cat/notes.txt" in caplog.text
    assert data.images.shape == (40, 6, 8, 3)
    assert data.data_card["label_names"] == ["cat", "dog"]
    names = data.manifest["source"].str.split("/").str[0]
    assert (names == np.array(["cat", "dog"])[data.manifest["label"]]).all()
    assert data.manifest["split"].value_counts().to_dict() == {"train": 28, "test": 8, "valid": 4}


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "VALID", "Test"),
        ("TRAINING", "validation", "testing"),
        ("train", "test"),
    ],
)
def test_class_folders_in_split_folders(tmp_path, names):
    for name in names:
        write_images(tmp_path / name, 20, lambda i: "ab"[i % 2])
    data = build(tmp_path)
    assert data.data_card["label_names"] == ["a", "b"]
    folders = data.manifest["source"].str.split("/").str[0].tolist()
    if len(names) == 3:
        assert data.manifest["split"].tolist() == ["train"] * 20 + ["valid"] * 20 + ["test"] * 20
        assert folders == [name for name in names for _ in range(20)]
    else:
        counts = data.manifest["split"].value_counts()
        assert counts["train"] + counts["valid"] == counts["test"] == 20
        assert 2 <= counts["valid"] <= 3
        assert folders == ["train"] * 20 + ["test"] * 20


@pytest.mark.parametrize(
    "folders",
    [
        {"seg_train": "ab", "seg_test": "ab"},
        {"part one": "ab", "part two": "AB"},
        {"train_set": "abc", "test_set": "ab"},  # a class without test images
        {"train2017": "ab", "val2017": "ab", "extra": "c"},
    ],
)
def test_folders_that_look_like_splits_never_become_classes(tmp_path, folders):
    for folder, classes in folders.items():
        for name in classes:
            write_image(tmp_path / folder / name / "0", "png", 0, (8, 6))
    message = refusal(tmp_path)
    assert "look like splits" in message
    assert "train, valid, test" in message
    assert all(name in message for name in folders if name != "extra")


def test_split_folders_in_the_wrong_place_are_refused(tmp_path):
    for name in ("cat", "dog"):
        for split in ("Train", "test"):
            write_image(tmp_path / "inside" / name / split / "0", "png", 0, (8, 6))
    message = refusal(tmp_path / "inside")
    assert "cat and dog" in message
    assert "train/<class>/" in message
    for split in ("train", "Test"):
        write_image(tmp_path / "flat" / split / "0", "png", 0, (8, 6))
    message = refusal(tmp_path / "flat")
    assert "Test" in message
    assert "no class folders" in message


def test_classes_may_have_folders_of_their_own_and_be_called_train(tmp_path):
    places = ("cat/indoors", "dog/garden", "dog/indoors")
    write_images(tmp_path / "some", 24, lambda i: places[i % 3])
    write_images(tmp_path / "one", 24, lambda i: f"{'ab'[i % 2]}/images")
    write_images(tmp_path / "train", 24, lambda i: ("train", "bus")[i % 2])
    assert build(tmp_path / "some").data_card["label_names"] == ["cat", "dog"]
    assert build(tmp_path / "one").data_card["label_names"] == ["a", "b"]
    assert build(tmp_path / "train").data_card["label_names"] == ["bus", "train"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["01", "1", "02"], ["01", "1", "02"]),
        (["03", "01", "10"], ["01", "03", "10"]),
        (["1.0", "1", "2.0"], ["1", "1.0", "2.0"]),
        (["45678", "99999"], ["45678", "99999"]),
        (["1", "-1"], ["-1", "1"]),
        (["12345678901234567890", "9"], ["9", "12345678901234567890"]),
        (["2", "other", "1"], ["1", "2", "other"]),
    ],
)
def test_the_name_of_a_class_folder_is_its_label(tmp_path, names, expected):
    for name in names:
        write_images(tmp_path, 12, lambda i, name=name: name)
    data = build(tmp_path)
    assert data.data_card["label_names"] == expected
    folders = data.manifest["source"].str.split("/").str[0]
    assert [expected[label] for label in data.manifest["label"]] == folders.tolist()


def test_wrong_class_folders_are_told(tmp_path):
    raw_dir = tmp_path / "raw"
    write_images(raw_dir / "train", 4, lambda i: "ab"[i % 2])
    (raw_dir / "extra").mkdir()
    (raw_dir / "test").mkdir()
    (raw_dir / "train" / "c").mkdir()
    (tmp_path / "outside").mkdir()
    (raw_dir / "train" / "d").symlink_to(tmp_path / "outside")
    (raw_dir / "train" / "a" / "loop").symlink_to(raw_dir / "train")
    message = refusal(raw_dir)
    for complaint in (
        "extra: is not train, valid or test",
        "test: the test split has no class folders",
        "train/c: no images",
        "train/d: leads out of raw_dir",
        "train/a/loop: is a link to a folder",
    ):
        assert message.count(complaint) == 1
