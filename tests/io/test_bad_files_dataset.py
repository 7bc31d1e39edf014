import pandas as pd
import pytest
from kedro.io import DatasetError

from debias_pipeline.io import BadFilesDataset


def test_the_table_is_written_whole_and_removed_when_nothing_is_bad(tmp_path):
    dataset = BadFilesDataset(str(tmp_path / "new" / "bad_files.csv"))
    assert dataset.exists()
    write = dataset.load()
    write([])
    place = write([("a/0.png", "is empty"), ("=1+1", 'has "quotes", and\nlines')])
    assert place == str(tmp_path / "new" / "bad_files.csv")
    table = pd.read_csv(place)
    assert table["file"].tolist() == ["a/0.png", "'=1+1"]
    assert table["problem"].tolist() == ["is empty", 'has "quotes", and\nlines']
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bad_files.csv"]
    write([])
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(DatasetError):
        dataset.save("x")
