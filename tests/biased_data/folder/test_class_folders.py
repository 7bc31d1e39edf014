import logging
import os
from pathlib import Path

import numpy as np
import pytest
from small_folders import build, refusal, write_image

from debias_pipeline.biased_data.folder import Listing, list_folder
from debias_pipeline.biased_data.folder.labels import number_values
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.errors import UserError


def write_images(folder, count, place):
    """Write images to the place that a function says for each number."""
    for i in range(count):
        write_image(folder / place(i) / str(i), "png", i, (8, 6))


def listed(raw_dir: Path, places: str) -> Listing:
    """List empty files in these folders, which are separated by spaces; a/{b,c} is a/b and a/c."""
    for place in places.split():
        parent, _, names = place.partition("{")
        for name in names.removesuffix("}").split(",") if names else [""]:
            (raw_dir / parent / name).mkdir(parents=True, exist_ok=True)
            (raw_dir / parent / name / "1.png").touch()
    return list_folder(raw_dir, "")


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


def test_a_missing_split_is_drawn_from_the_training_folder(tmp_path):
    for name in ("Train", "test"):
        write_images(tmp_path / name, 20, lambda i: "ab"[i % 2])
    data = build(tmp_path)
    counts = data.manifest["split"].value_counts()
    assert counts["train"] + counts["valid"] == counts["test"] == 20
    assert 2 <= counts["valid"] <= 3
    folders = data.manifest["source"].str.split("/").str[0].tolist()
    assert folders == ["Train"] * 20 + ["test"] * 20


# Folders, and the split of each.
SPLITS = [
    ("train val test", "train valid test"),
    ("Train VALID Test", "train valid test"),
    ("TRAINING validation testing", "train valid test"),
    ("train dev test", "train valid test"),
    ("my_train my_test", "train test"),
    ("seg_train seg_Test", "train test"),
    ("train_images val_images test", "train valid test"),
    ("01_train 02-val 03.test", "train valid test"),
    ("train2017 val2017", "train valid"),
    ("trainSet testSet", "train test"),
    ("Entraînement_train Entraînement_test", "train test"),
]


@pytest.mark.parametrize(("names", "splits"), SPLITS)
def test_split_folders_are_known_by_their_names(tmp_path, names, splits):
    listing = listed(tmp_path, " ".join(f"{name}/{{a,b}}" for name in names.split()))
    folder_of = dict(zip(names.split(), splits.split(), strict=True))
    assert not listing.problems
    assert {*listing.label} == {"a", "b"}
    assert [folder_of[place.split("/")[0]] for place in listing.source] == [*listing.split]


CLASSES = {
    "images on two levels": ("cat/indoors dog/garden dog/indoors", {"cat", "dog"}),
    "one folder in each": ("a/images b/images", {"a", "b"}),
    "a class train": ("train bus", {"bus", "train"}),
    "classes with split words": ("bullet_train/red bus/red", {"bullet_train", "bus"}),
    "suffixes of tables": ("a.csv b.json", {"a.csv", "b.json"}),
    "numbers": ("01 1 1.0 -1 45678", {"01", "1", "1.0", "-1", "45678"}),
}


@pytest.mark.parametrize("case", CLASSES)
def test_other_folders_are_classes(tmp_path, case):
    places, labels = CLASSES[case]
    listing = listed(tmp_path, places)
    assert {*listing.label} == labels
    assert not any(listing.split)


REFUSED = {
    "another folder": ("train/{a,b} extra/c", ["extra: is not train, valid or test"]),
    "another folder, long names": ("train2017/{a,b} val2017/{a,b} extra/c", ["extra: is not"]),
    "two splits in a name": ("train_val/{a,b} test/{a,b}", ["train_val: is not train"]),
    "a split without classes": ("train/{a,b} test", ["test: the test split has no class folders"]),
    "a folder too many": (
        "seg_train/seg_train/{a,b} seg_test/seg_test/{a,b}",
        ["move its folders"],
    ),
    "no classes": ("train Test", ["Test and train", "no class folders"]),
    "alike": ("one/{a,b} two/{A,B}", ["one and two", "look like splits", "train, valid, test"]),
    "a split twice": (
        "train_images/{a,b} train_masks/{a,b} test_images/{a,c}",
        ["test_images, train_images and train_masks", "look like splits"],
    ),
    "other words differ": ("my_train/{a,b} your_test/{a,c}", ["look like splits"]),
    "splits in classes": ("cat/{Train,test} dog/{Train,test}", ["cat and dog", "train/<class>/"]),
    "splits one level down": ("photos/{train,test}", ["raw_dir=", "photos", "test, train"]),
    "classes one level down": ("photos/{cat,dog}", ["raw_dir=", "photos", "cat, dog"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unclear_folders_never_become_classes(tmp_path, case):
    places, expected = REFUSED[case]
    try:
        message = "; ".join(listed(tmp_path, places).problems)
    except UserError as error:
        message = str(error)
    for words in expected:
        assert words in message


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("01 1 02", ["01", "1", "02"]),
        ("03 01 10", ["01", "03", "10"]),
        ("1.0 1 2.0", ["1", "1.0", "2.0"]),
        ("45678 99999", ["45678", "99999"]),
        ("1 -1", ["-1", "1"]),
        ("12345678901234567890 9", ["9", "12345678901234567890"]),
        ("2 other 1", ["1", "2", "other"]),
        ("train/{café,b} test/{cafe\u0301,b}", ["b", "café"]),  # composed and decomposed
    ],
)
def test_the_name_of_a_class_folder_is_its_label(tmp_path, names, expected):
    listing = listed(tmp_path, names)
    label, found = number_values(listing, "label", [])
    assert found == expected
    if "/" not in names:
        assert [expected[number] for number in label] == [*listing.label]


def test_wrong_class_folders_are_told(tmp_path):
    raw_dir = tmp_path / "raw"
    write_images(raw_dir / "train", 4, lambda i: "ab"[i % 2])
    (raw_dir / "train" / "c").mkdir()
    (tmp_path / "outside").mkdir()
    (raw_dir / "train" / "d").symlink_to(tmp_path / "outside")
    (raw_dir / "train" / "a" / "loop").symlink_to(raw_dir / "train")
    message = refusal(raw_dir)
    for complaint in (
        "train/c: no images",
        "train/d: leads out of raw_dir",
        "train/a/loop: is a link to a folder",
    ):
        assert message.count(complaint) == 1


def test_unusual_file_names_work(tmp_path):
    names = [
        "a:b",
        "c:",
        "line\nbreak",
        "\x1b[31mred",
        "tab\t",
        "back\\slash",
        "\N{CAT}",
        "  ",
        "#%?",
    ]
    for i, name in enumerate(names * 4):
        write_image(tmp_path / f"{'xy'[i % 2]}\n{name}" / f"{i}{name}.png", "png", i, (8, 6))
    data = build(tmp_path)
    Manifest.validate(data.manifest)
    assert len(data.images) == 4 * len(names)
    assert all((tmp_path / source).is_file() for source in data.manifest["source"])


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (b"a/caf\xe9.png", r"a/caf\xe9.png: its name is not UTF-8; rename it"),
        (b"caf\xe9/1.png", r"caf\xe9: its name is not UTF-8; rename it"),
        (b"a/\\1.png", None),
        (b"a/b\\..\\1.png", r"a/b\..\1.png: is like a path of Windows; rename it"),
        (b"a:/1.png", "a:/1.png: is like a path of Windows; rename it"),
        (b"a/new\nline.png", r"a/new\nline.png: is empty"),
    ],
)
def test_file_names_that_cannot_be_used_are_named(tmp_path, name, complaint):
    write_images(tmp_path, 24, lambda i: "ab"[i % 2])
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    path.parent.mkdir(exist_ok=True)
    if complaint and "empty" not in complaint:
        write_image(path, "png", 1, (8, 6))
    elif complaint:
        path.touch()
    else:
        write_image(path, "png", 1, (8, 6))
        assert len(build(tmp_path).images) == 25
        return
    message = refusal(tmp_path)
    assert "1 problem:" in message
    assert complaint in message
