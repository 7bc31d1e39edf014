import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from small_folders import (
    BIASES,
    GIF_OF_100_MEGAPIXELS,
    LABELS,
    build,
    put,
    refusal,
    rows_of,
    write_image,
)

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.folder.labels import aligned_bias
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sets.folder import FolderOptions
from debias_pipeline.errors import UserError

KINDS = ["png", "jpg", "gif", "palette", "grey", "deep", "alpha", "turned", "webp", "bmp"]


@pytest.fixture(scope="module")
def mixed_dir(tmp_path_factory) -> Path:
    """300 images of ten kinds and thirty sizes; cows mostly on grass, camels mostly on sand."""
    raw_dir, rows = tmp_path_factory.mktemp("mixed"), []
    for i in range(300):
        against = i // 2 % 10 == 0
        size = (20 + i % 6, 24 + i // 6 % 5)
        path = write_image(raw_dir / "images" / f"{i:03}", KINDS[i % 10], i % 250, size)
        row = {"path": f"images/{path.name}", "label": LABELS[i % 2], "camera": i % 3}
        rows.append(row | {"bias": BIASES[i % 2 if against else 1 - i % 2], "note": f"n{i}"})
    return put(raw_dir, rows)


@pytest.fixture(scope="module")
def mixed(mixed_dir) -> BiasedData:
    return build(mixed_dir)


# --- 300 images of mixed kinds ----------------------------------------------------------------


def test_mixed_images_with_bias(mixed_dir, mixed):
    Manifest.validate(mixed.manifest)
    card = mixed.data_card
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["label_names"] == ["camel", "cow"]
    assert card["bias_names"] == ["grass", "sand"]
    assert card["aligned_bias"] == [1, 0]
    assert str(mixed_dir) not in json.dumps(card)
    assert "resized to 22 x 22" in card["origin"]
    assert mixed.images.shape == (300, 22, 22, 3)
    assert [card["splits"][name]["images"] for name in ("train", "valid", "test")] == [210, 30, 60]
    assert mixed.manifest["conflicting"].sum() == 30
    assert 19 <= card["splits"]["train"]["conflicting"] <= 23


def test_every_kind_comes_out_as_a_viewer_shows_it_with_further_columns(mixed):
    manifest = mixed.manifest
    number = manifest["source"].str.extract(r"(\d+)\.")[0].astype(int)
    for row, i in enumerate(number):
        error = np.abs(mixed.images[row].astype(int) - i % 250).max()
        assert error <= (4 if KINDS[i % 10] in ("jpg", "turned") else 1), (i, KINDS[i % 10])
    assert manifest["camera"].tolist() == (number % 3).tolist()
    assert manifest["note"].tolist() == [f"n{i}" for i in number]


def test_mixed_images_without_bias(mixed_dir, tmp_path):
    raw_dir = Path(shutil.copytree(mixed_dir, tmp_path / "raw"))
    table = pd.read_csv(raw_dir / "table.csv")[["path", "label"]]
    (raw_dir / "table.csv").unlink()
    data = build(put(raw_dir, table, "table.parquet"), image_size=16)
    assert data.images.shape == (300, 16, 16, 3)
    assert (data.manifest["bias"] == -1).all()
    assert data.manifest["conflicting"].isna().all()
    assert data.data_card["bias_names"] == []
    assert data.data_card["aligned_bias"] == [None, None]
    assert data.data_card["splits"]["train"]["conflicting"] is None


def test_same_seed_same_bytes_other_seed_other_splits(mixed_dir, mixed):
    same, other = build(mixed_dir), build(mixed_dir, 2)
    assert mixed.manifest.equals(same.manifest)
    assert mixed.images.tobytes() == same.images.tobytes()
    assert not mixed.manifest["source"].equals(other.manifest["source"])


# --- Labels, bias and columns -----------------------------------------------------------------


def test_whether_there_are_bias_labels_is_told_before_the_images_are_read(tmp_path):
    def lacks(raw_dir: Path) -> bool:
        return get_dataset("folder").lacks_bias_labels(raw_dir, FolderOptions())

    assert not lacks(tmp_path / "nowhere")  # left to the build
    for bias, expected in ((["0", "1"], False), (["1", ""], False), (["", "-1"], True)):
        assert lacks(put(tmp_path, rows_of(2, bias=bias))) == expected
    assert lacks(put(tmp_path, [{"path": "0.png", "label": 0}]))
    for label in ("cat", "dog"):
        (tmp_path / "folders" / label).mkdir(parents=True)
        (tmp_path / "folders" / label / "1.png").touch()
    assert lacks(tmp_path / "folders")


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (["NA", "None"], ["NA", "None"]),
        (["10", "9"], ["9", "10"]),
        (["01", "1"], ["01", "1"]),
        (["007", "12"], ["007", "12"]),
        (["1", "-1"], ["-1", "1"]),
        (["40000", "99999999999999999999"], ["40000", "99999999999999999999"]),
        ([3, 1], ["1", "3"]),
        ([1.0, 0.0], ["0", "1"]),
        (["Ünsworth", "東京"], ["Ünsworth", "東京"]),
        ([" a", "b "], ["a", "b"]),
        ([True, False], ["False", "True"]),
    ],
)
def test_labels_are_names_or_numbers(small_dir, written, names):
    for name in ("table.csv", "table.parquet"):
        data = build(put(small_dir, rows_of(16, label=written), name), table=name)
        assert data.data_card["label_names"] == names
        first = data.manifest.loc[data.manifest["source"] == "images/0.png", "label"].item()
        assert names[first] == str(written[0]).strip().removesuffix(".0")


def test_a_number_and_the_same_number_as_a_float_are_one_label(small_dir):
    data = build(put(small_dir, rows_of(label=["1", "1.0", "2", "02"])))
    assert data.data_card["label_names"] == ["1", "02", "2"]
    assert data.manifest["label"].value_counts().to_dict() == {0: 20, 1: 10, 2: 10}


def test_the_number_of_labels_is_limited_and_not_their_size(monkeypatch, small_dir):
    monkeypatch.setattr("debias_pipeline.biased_data.folder.labels._MAX_LABELS", 3)
    message = refusal(put(small_dir, rows_of(label=range(40_000, 40_004))))
    assert "4 different values" in message
    assert "at most 3" in message


@pytest.mark.parametrize("written", [[-1, 1], [1, -1, None], [-1.0, 1.0], ["-1", "1.0", ""]])
def test_a_bias_of_minus_one_or_one_has_two_values(small_dir, written, caplog):
    rows = rows_of(bias=[value for value in written for _ in LABELS])
    gaps = sum(row["bias"] in (None, "") for row in rows)
    for name in ("table.csv", "table.parquet"):
        data = build(put(small_dir, rows, name), table=name)
        assert data.data_card["bias_names"] == ["-1", "1"]
        assert (data.manifest["bias"] == -1).sum() == gaps
    assert "unknown" not in caplog.text


@pytest.mark.parametrize(
    ("written", "names", "words"),
    [
        ([0, 1, -1, None], ["0", "1"], "treated as unknown"),
        (["0.0", "1.0", "-1.0", ""], ["0", "1"], "treated as unknown"),
        ([-1, -1, "", ""], [], "treated as unknown"),
        (["a", "b", "-1", ""], ["a", "b"], "treated as unknown"),
        ([-1, 0, None, None], ["-1", "0"], "treated as a value"),
        ([-1, -2, 1, None], ["-2", "-1", "1"], "treated as a value"),
    ],
)
def test_a_bias_of_minus_one_among_others_is_counted(small_dir, caplog, written, names, words):
    rows = rows_of(bias=written, label=[0] * 4 + [1] * 4)
    with caplog.at_level(logging.WARNING):
        data = build(put(small_dir, rows))
    count = 10 * sum(str(value).startswith("-1") for value in written)
    assert f"{count} rows have the bias -1, which is {words}" in caplog.text
    assert data.data_card["bias_names"] == names
    unknown = data.manifest["bias"] == -1
    assert unknown.sum() == 10 * sum(
        str(value).removesuffix(".0") not in names for value in written
    )
    assert (data.manifest["conflicting"].isna() == unknown).all()


@pytest.mark.parametrize(
    ("counts", "aligned"),
    [
        ([[95, 5], [5, 95]], [0, 1]),
        ([[95, 5], [60, 40]], [0, 1]),  # the first is the most frequent of both
        ([[20, 980], [1, 99]], [0, 1]),
        ([[90, 9, 1], [5, 90, 0]], [0, 1]),  # the third is only with the first label, once
        ([[98, 1, 1], [1, 98, 1], [1, 1, 98]], [0, 1, 2]),
        ([[80, 20], [20, 80], [25, 75]], [0, 1, 1]),  # more labels than values
        ([[30, 10], [60, 20]], [0, 0]),  # independent
        ([[50, 0], [50, 0]], [0, 0]),
        ([[9, 1], [0, 0]], [0, None]),
    ],
)
def test_the_aligned_bias_is_over_represented(counts, aligned):
    label, bias = np.repeat(list(np.ndindex(np.shape(counts))), np.ravel(counts), axis=0).T
    others = np.full(500, 0), np.full(500, -1), np.full(500, "train")
    test = np.full(999, 0), np.full(999, np.shape(counts)[1] - 1), np.full(999, "test")
    columns = zip((label, bias, np.full(len(label), "train")), others, test, strict=True)
    assert aligned_bias(*map(np.concatenate, columns), len(counts)) == aligned


def test_conflicting_is_any_bias_but_the_aligned_one(small_dir):
    # In training label 0 goes with x (6 : 4), label 1 with y; the test split says otherwise.
    rows = rows_of(
        label=[0] * 10 + [1] * 10 + [0, 1] * 10,
        bias=["x"] * 6 + ["y"] * 12 + ["z"] * 22,
        split=["train"] * 20 + ["valid", "valid", "test", "test"] * 5,
    )
    data = build(put(small_dir, rows))
    assert data.data_card["aligned_bias"] == [0, 1]
    train = data.manifest[data.manifest["split"] == "train"]
    assert train["conflicting"].tolist() == [False] * 6 + [True] * 4 + [False] * 8 + [True] * 2
    assert data.manifest["conflicting"].tolist()[20:] == [True] * 20


def test_column_names_of_the_manifest_are_set_apart(small_dir):
    own = {
        "image_id": range(7, 47),
        "conflicting": ["no"],
        "table_source": ["a"],
        "source": ["web"],
    }
    manifest = build(put(small_dir, rows_of(**own))).manifest
    assert sorted(manifest["table_image_id"]) == list(range(7, 47))
    assert manifest["table_conflicting"].eq("no").all()
    assert manifest["table_source"].eq("a").all()
    assert manifest["table_table_source"].eq("web").all()


@given(counts=st.lists(st.integers(3, 12), min_size=2, max_size=4), seed=st.integers(0, 9))
@settings(max_examples=10)
def test_labels_survive_whatever_the_counts(tmp_path_factory, counts, seed):
    raw_dir = tmp_path_factory.mktemp("drawn")
    label = [value for value, n in enumerate(counts) for _ in range(n)]
    for i in range(len(label)):
        write_image(raw_dir / str(i), "bmp", i, (2, 2))
    put(raw_dir, [{"path": f"{i}.png", "label": f"l{value}"} for i, value in enumerate(label)])
    (raw_dir / "table.csv").write_text((raw_dir / "table.csv").read_text().replace("png", "bmp"))
    try:
        manifest = build(raw_dir, seed).manifest
    except UserError as error:
        assert "too few to draw it from" in str(error)
        return
    for row in manifest.itertuples():
        assert label[int(Path(row.source).stem)] == row.label
    assert set(manifest.loc[manifest["split"] == "train", "label"]) == set(range(len(counts)))


# --- Sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "image_size", "expected"),
    [
        ([(8, 6)], 0, (6, 8)),
        ([(256, 100)], 0, (100, 256)),
        ([(300, 400)], 0, (224, 224)),
        ([(10, 20), (12, 20), (30, 14)], 0, (12, 12)),
        ([(10, 20), (12, 20), (30, 14)], 9, (9, 9)),
        ([(8, 6)], 8, (8, 8)),
    ],
)
def test_size_of_images(tmp_path, sizes, image_size, expected):
    for i in range(30):
        write_image(tmp_path / "ab"[i % 2] / str(i), "png", i, sizes[i % len(sizes)])
    assert build(tmp_path, image_size=image_size).images.shape[1:3] == expected


# --- What goes wrong --------------------------------------------------------------------------


def break_three_images(small_dir):
    (small_dir / "images/0.png").write_bytes(b"")
    (small_dir / "images/1.png").write_text("no image")
    (small_dir / "images/2.png").write_bytes(GIF_OF_100_MEGAPIXELS)


def test_broken_images_are_named_with_the_rows_of_a_parquet_file(small_dir, recwarn):
    break_three_images(small_dir)
    message = refusal(put(small_dir, rows_of(), "table.parquet"))
    assert "3 problems" in message
    assert "row 1 (images/0.png): is empty (0 bytes)" in message
    assert "row 2 (images/1.png): is not an image but text" in message
    assert "row 3 (images/2.png): has more than 80 megapixels" in message
    assert not [warning for warning in recwarn if "Decompression" in str(warning.category)]


def test_all_problems_are_counted_and_ten_shown(small_dir, tmp_path):
    rows = rows_of(split=["train"])
    break_three_images(small_dir)
    (small_dir / "images/3.png").unlink()
    (small_dir / "images/4.png").unlink()
    (small_dir / "images/4.png").symlink_to(tmp_path / "outside.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "outside.png")
    rows[5]["path"] = "../outside.png"
    rows[6]["path"] = str(tmp_path / "outside.png")
    rows[7]["path"] = "./images/8.png"
    rows[9]["path"] = ""
    rows[10]["label"] = ""
    rows[11]["split"] = "eval"
    rows[12]["split"] = ""
    message = refusal(put(small_dir, rows))
    assert message.startswith(str(small_dir / "table.csv"))
    assert "12 problems: " in message
    for complaint in (
        "row 6: images/4.png leads out of raw_dir",
        "row 7: ../outside.png leads out of raw_dir",
        f"row 8: {tmp_path / 'outside.png'} leads out of raw_dir",
        "row 10: images/8.png is in row 9 already",
        "row 11: no path",
        "row 12: no label",
        "row 13: split 'eval' is not train, valid or test",
        "row 14: no split, but other rows have one",
        "row 2 (images/0.png): is empty (0 bytes)",
        "row 3 (images/1.png): is not an image but text",
    ):
        assert complaint in message
    assert "; and 2 more." in message


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (["cat", "0", "1", "1"], "row 2 (images/0.png): label 'cat' is not a whole number"),
        (["1.5", "0", "1", "1"], "label '1.5' is not a whole number"),
        (["3", "cat", "dog", "dog"], "label '3' is a number, but others are names"),
        (["cat"] * 4, "only one class, 'cat'"),
    ],
)
def test_wrong_labels_are_told(small_dir, labels, complaint):
    assert complaint in refusal(put(small_dir, rows_of(label=labels[:2] + labels[2:] * 19)))


def test_splits_without_images_or_labels_are_told(small_dir):
    assert "the train split: no images" in refusal(put(small_dir, rows_of(split=["valid", "test"])))
    rows = rows_of(split=["train", "train", "valid", "test"])
    for i in (0, 2, 3):
        rows[i]["label"] = "horse"
    rows[0]["split"] = "test"
    assert "label 'horse': no image in the train split" in refusal(put(small_dir, rows))
    assert "split: no images, and too few to draw it from" in refusal(put(small_dir, rows_of(4)))


def test_image_size_must_make_sense():
    for size in (-1, 5000):
        with pytest.raises(ValidationError):
            FolderOptions(image_size=size)


# --- Where results go -------------------------------------------------------------------------


def test_results_of_different_data_never_share_a_folder(tmp_path):
    dataset = get_dataset("folder")

    def filed(place: str, seed: int = 0, **options) -> str:
        return dataset.folder("2pct", tmp_path / place, seed, FolderOptions(**options))

    names = [
        filed("a/my photos!"),
        filed("b/my photos!"),
        filed("a/my photos!", seed=3),
        filed("a/my photos!", image_size=64),
        filed("a/my photos!", table="x/a b.csv"),
        filed("a/my photos!", table="x/a-b.csv"),
    ]
    assert len(set(names)) == len(names)
    assert all(name.startswith("folder/my-photos-") and name.count("/") == 1 for name in names)
    assert names[2].endswith("_data3")
    assert names[3].endswith("_image_size64")
    assert filed("a/my photos!") == filed("b/../a/my photos!") == names[0]
    assert filed("東京").startswith("folder/images-")
