import gzip

import pytest
from small_folders import build, put, refusal, rows_of


def test_choice_of_table(small_dir, tmp_path):
    put(small_dir, rows_of(), "a.csv")
    put(small_dir, rows_of(20), "b.parquet")
    assert "a.csv, b.parquet" in refusal(small_dir)
    assert len(build(small_dir, table="b.parquet").images) == 20
    assert "is not a file" in refusal(small_dir, table="c.csv")
    (tmp_path / "out.csv").touch()
    (small_dir / "link.csv").symlink_to(tmp_path / "out.csv")
    for name in ("../out.csv", str(tmp_path / "out.csv"), "link.csv"):
        assert "leads out of raw_dir" in refusal(small_dir, table=name)
    (small_dir / "c.txt").touch()
    assert "table=c.txt is none of .csv, " in refusal(small_dir, table="c.txt")


@pytest.mark.parametrize(
    "name", ["t.xlsx", "T.XLS", "t.ods", "t.json", "t.jsonl", "t.csv.zip", "t.feather", "t.pkl"]
)
def test_tables_that_are_not_read_are_named_before_folders_become_labels(tmp_path, name):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").touch()
    (tmp_path / name).touch()
    message = refusal(tmp_path)
    assert name in message
    assert "save the table as CSV" in message
    assert "move it out of" in message


def test_hidden_files_and_locks_are_no_tables(small_dir):
    for name in (".~lock.table.csv#", "~$table.csv", ".hidden.csv", "._table.csv", "~$t.xlsx"):
        (small_dir / name).write_text("x")
    (small_dir / "t.xlsx").touch()
    assert len(build(put(small_dir, rows_of())).images) == 40


def test_nothing_there(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none")
    (tmp_path / "file.txt").touch()
    assert "neither a table nor class folders" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "data/01_raw")


def test_a_damaged_gzip_file_is_told(small_dir):
    for content in (b"nothing", gzip.compress(b"path,label\n" * 99)[:-9]):
        (small_dir / "table.csv.gz").write_bytes(content)
        assert "is not a valid gzip file" in refusal(small_dir)
