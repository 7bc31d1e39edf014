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
    assert "neither .csv nor .parquet" in refusal(small_dir, table="c.txt")


def test_nothing_there(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none")
    (tmp_path / "file.txt").touch()
    assert "neither a table nor class folders" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "data/01_raw")
