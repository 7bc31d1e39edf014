import logging

import pandas as pd
import pytest
from small_folders import build, put, refusal, rows_of, write_image

from debias_pipeline.biased_data.folder import list_folder


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.parquet", "t.tsv", "t.csv.gz", "t.TSV.gz"])
def test_tables_of_all_kinds(small_dir, name):
    data = build(put(small_dir, rows_of(), name))
    assert len(data.images) == 40
    assert data.data_card["image_shape"] == [6, 8, 3]
    assert name in data.data_card["origin"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_marks_of_spreadsheets(small_dir, separator):
    pd.DataFrame(rows_of()).to_csv(
        small_dir / "table.csv", index=False, sep=separator, encoding="utf-8-sig"
    )
    with (small_dir / "table.csv").open("a") as file:
        file.write(f"\n{separator * 2}\n\n")
    assert len(build(small_dir).images) == 40


def test_paths_written_on_windows(small_dir):
    rows = [row | {"path": str(row["path"]).replace("/", "\\")} for row in rows_of()]
    assert build(put(small_dir, rows)).manifest["source"].str.startswith("images/").all()


NAMES = {
    "composed": "cafe\u0301/\xe9.png",
    "both": "caf\xe9/e\u0301.png",
    "windows": "caf\xe9\\\xe9.png",
    "colon": "c:1.png",
    "backslash": "a\\b.png",
    "line break": "a\nb.png",
}


@pytest.mark.parametrize("case", NAMES)
def test_the_path_is_the_one_on_disk(small_dir, case):
    on_disk = {"colon": "c:1.png", "backslash": "a\\b.png", "line break": "a\nb.png"}
    name = on_disk.get(case, "cafe\u0301/\xe9.png")
    write_image(small_dir / name, "png", 7, (8, 6))
    rows = [*rows_of(), {"path": NAMES[case], "label": "cow"}]
    assert name in build(put(small_dir, rows)).manifest["source"].tolist()
    assert "in row 42 already" in refusal(put(small_dir, [*rows, rows[-1] | {"path": name}]))


def test_two_forms_of_a_path_are_one_file(small_dir):
    write_image(small_dir / "\xe9.png", "png", 7, (8, 6))
    more = [{"path": path, "label": "cow"} for path in ("e\u0301.png", "\xe9.png", "u\u0308.png")]
    message = refusal(put(small_dir, [*rows_of(), *more]))
    assert "row 43: \xe9.png is in row 42 already" in message
    assert "row 44 (u\u0308.png): does not exist" in message


def test_given_splits_are_kept_and_sorted(small_dir):
    rows = rows_of(split=["test", "Train", "val", "train"], label=[0] * 4 + [1] * 4)
    data = build(put(small_dir, rows))
    assert data.manifest["split"].tolist() == ["train"] * 20 + ["valid"] * 10 + ["test"] * 10
    assert (data.images[:, 0, 0, 0] == data.manifest["source"].str[7:-4].astype(int)).all()
    assert "drawn" not in data.data_card["origin"]


@pytest.mark.parametrize(
    ("written", "splits"),
    [
        (["train", "Val", " test "], ["train", "valid", "test"]),
        (["TRAIN", "dev", "testing"], ["train", "valid", "test"]),
        (["my_train", "my_val", "my_test"], ["train", "valid", "test"]),
        (["train", "Train", "validation"], ["train", "train", "valid"]),
        ([0, 1, 2], ["train", "valid", "test"]),
        (["0.0", "1.0", "2.0"], ["train", "valid", "test"]),
        (["train", "id_test", "test"], ["train", "", "test"]),
        (["train", "eval", ""], ["train", "", ""]),
        ([0, 1, 0], None),
        ([1, 2, 3], None),
        ([0, 1, -1], None),
    ],
)
@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_splits_of_a_table(small_dir, written, splits, name):
    listing = list_folder(put(small_dir, rows_of(3, split=written), name), "")
    if splits is None:
        (problem,) = listing.problems
        assert problem.startswith("the split column")
        assert "write train, valid, test" in problem
    else:
        assert [*listing.split] == splits
        assert len(listing.problems) == splits.count("")
        assert bool(listing.notes) == ("0" in str(written[0]))


@pytest.mark.parametrize(
    ("columns", "bias"),
    [("img_filename y place", "bias is place"), ("filename y a", "bias is a"), ("filename y", "")],
)
def test_metadata_of_wilds_and_subpopbench(small_dir, columns, bias, caplog):
    path, label, *known = columns.split()
    rows = [
        {
            "id": i,
            path: f"images/{i}.png",
            label: i % 2,
            "split": i % 3,
            **dict.fromkeys(known, i % 5 % 2),
        }
        for i in range(40)
    ]
    with caplog.at_level(logging.INFO):
        data = build(put(small_dir, rows, "metadata.csv"))
    assert f"path is {path}, label is y" in caplog.text
    assert bias in caplog.text
    assert "split 0, 1, 2 is read as train, valid, test" in caplog.text
    assert data.data_card["bias_names"] == (["0", "1"] if bias else [])
    number = data.manifest["id"]
    assert (data.manifest["label"] == number % 2).all()
    assert data.manifest["split"].tolist() == ["train"] * 14 + ["valid"] * 13 + ["test"] * 13


def test_unclear_metadata_is_refused(small_dir):
    rows = [{"filename": "images/1.png", "y": 0, "split": 0, "a": 1, "place": 0}]
    message = refusal(put(small_dir, rows))
    assert "place and a" in message
    assert "rename that column to bias" in message
    rows = [{"filename": "images/1.png", "img_filename": "images/1.png", "y": 0}]
    assert "no column path and label" in refusal(put(small_dir, rows))


FURTHER = {
    "numbers": ["1", "-2", "0"],
    "gaps": ["1", "", "3"],
    "decimals": ["1.5", "-0.25", "2.0"],
    "zeros": ["007", "12", "1"],
    "precision": ["0.10", "0.2", "0.3"],
    "power": ["1e5", "2", "3"],
    "long": ["12345678901234567890123", "1", "2"],
    "plus": ["+1", "2", "3"],
    "words": ["NA", "nan", "inf"],
    "spaces": [" 1", "2 ", "3"],
    "booleans": ["True", "False", ""],
    "dates": ["2024-01-01", "", ""],
}


def test_further_columns_read_as_they_were_written(small_dir):
    write = put(small_dir, rows_of(39, **FURTHER))
    manifest = build(write).manifest
    manifest.to_parquet(small_dir.parent / "manifest.parquet")
    manifest = pd.read_parquet(small_dir.parent / "manifest.parquet")
    row = manifest["source"].str[7:-4].astype(int)
    for name, values in FURTHER.items():
        written = [values[i % 3] for i in row]
        assert manifest[name].astype("string").fillna("").tolist() == written, name
    assert [str(manifest[name].dtype) for name in ("numbers", "gaps", "decimals")] == [
        "int64",
        "Int64",
        "float64",
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"file,label\na.png,1\n", "no column path, it has 'file', 'label'"),
        (b"a,b\n1,2\n", "no column path and label"),
        (b"path,label, label\na,1,2\n", "has the column label twice"),
        (b"path,label,x,x\na,1,2,3\n", "has the column x twice"),
        (b"path,label\n", "has no rows"),
        (b"path,label\n,\n\n", "has no rows"),
        (b"", "is empty"),
        (b"path,label\n\xe9t\xe9.png,1\n", "is not UTF-8 (invalid continuation byte at byte"),
        (b"path,label\na.png,1\nb,c.png,1\n", "is not a valid CSV"),
        (b"path,label\nb,c.png,1\na.png,1\n", "is not a valid CSV"),
        (b'path,label\n"a.png,1\n', "is not a valid CSV"),
    ],
)
def test_broken_csv_is_told(small_dir, content, complaint):
    (small_dir / "table.csv").write_bytes(content)
    assert complaint in refusal(small_dir)


def test_broken_parquet_is_told(small_dir):
    (small_dir / "table.parquet").write_bytes(b"PAR1nothing")
    assert "not a parquet file" in refusal(small_dir)
    put(small_dir, [{"a": 1}], "table.parquet")
    assert "no column path and label, it has 'a'" in refusal(small_dir)


def test_columns_of_further_bias_attributes_are_numbered_and_can_be_chosen(small_dir):
    weather = ["sun", "rain", "", "sun"] * 10
    put(small_dir, rows_of(bias_weather=weather, bias_note_2=["x"] * 40))
    data, other = build(small_dir), build(small_dir, bias="weather")
    assert data.data_card["attributes"]["weather"] == ["rain", "sun"]
    assert list(data.data_card["attributes"]) == ["bias", "weather", "note_2"]
    assert other.data_card["bias_name"] == "weather"
    assert other.manifest["bias"].equals(data.manifest["bias_weather"].rename("bias"))
    assert (other.manifest["bias"] == -1).sum() == 10
    assert other.manifest["split"].equals(data.manifest["split"])
    assert other.images.tobytes() == data.images.tobytes()
