import pandas as pd
import pytest
from small_folders import build, put, refusal, rows_of


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_tables_of_both_kinds(small_dir, name):
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


def test_given_splits_are_kept_and_sorted(small_dir):
    rows = rows_of(split=["test", "Train", "val", "train"], label=[0] * 4 + [1] * 4)
    data = build(put(small_dir, rows))
    assert data.manifest["split"].tolist() == ["train"] * 20 + ["valid"] * 10 + ["test"] * 10
    assert (data.images[:, 0, 0, 0] == data.manifest["source"].str[7:-4].astype(int)).all()
    assert "drawn" not in data.data_card["origin"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"file,label\na.png,1\n", "no column path, it has 'file', 'label'"),
        (b"a,b\n1,2\n", "no column path and label"),
        (b"path,label, label\na,1,2\n", "has the column label twice"),
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
