"""Tables for spreadsheets: text is never a formula, and comes back as it was."""

import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.io import SpreadsheetDataset
from debias_pipeline.spreadsheets import escape_formulas, unescape_formulas

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "plain", "", 'ünïcode,\n"quoted"']


def test_formulas_are_escaped_and_come_back(tmp_path: Path) -> None:
    dataset = SpreadsheetDataset(filepath=str(tmp_path / "table.csv"))
    frame = pd.DataFrame({"file": FORMULAS, "=p": range(len(FORMULAS))})
    dataset.save(frame)
    text = (tmp_path / "table.csv").read_text(encoding="utf-8-sig")
    assert all(not line.startswith(("=", "+", "-", "@", "\t")) for line in text.splitlines())
    assert (tmp_path / "table.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    loaded = dataset.load().fillna("")
    pd.testing.assert_frame_equal(loaded, frame, check_dtype=False)


def test_values_that_are_not_text_stay_as_they_are() -> None:
    frame = pd.DataFrame({"mixed": ["=1", -1, None], "flag": [True, False, True]})
    escaped = escape_formulas(frame)
    assert list(escaped["mixed"]) == ["'=1", -1, None]
    pd.testing.assert_frame_equal(unescape_formulas(escaped), frame)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1))
def test_any_text_comes_back(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = SpreadsheetDataset(
            filepath=f"{folder}/table.csv", load_args={"keep_default_na": False, "dtype": str}
        )
        dataset.save(pd.DataFrame({"file": [text]}))
        assert list(dataset.load()["file"]) == [text]
