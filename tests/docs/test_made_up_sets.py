"""Made-up images in published layouts are read as the published data sets."""

import importlib.util
import sys
from pathlib import Path

import pytest

from debias_pipeline.biased_data import get_dataset

SCRIPT = Path(__file__).parents[2] / "docs" / "made_up_sets.py"
SPEC = importlib.util.spec_from_file_location("made_up_sets", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
made_up_sets = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made_up_sets)


@pytest.mark.parametrize("name", made_up_sets.SETS)
def test_every_layout_is_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), name, str(tmp_path), "--images", "40"])
    made_up_sets.main()
    percent = {"bffhq": "0.5pct", "dogs_and_cats": "1pct"}.get(name, "2pct")
    data = get_dataset(name).build(percent, tmp_path, 0)
    assert len(data.images) == len(data.manifest) == 40
    assert set(data.manifest["split"]) == {"train", "valid", "test"}


def test_an_image_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "bar" / "train" / "diving_1.jpg").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "bar", str(tmp_path), "--images", "40"])
    with pytest.raises(IsADirectoryError):
        made_up_sets.main()
