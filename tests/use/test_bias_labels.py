from pathlib import Path

import pytest

from debias_pipeline.errors import UserError
from debias_pipeline.use import read_bias_labels


def write(path: Path, text: str) -> str:
    file = path / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_rows_with_a_bias_are_read(tmp_path: Path, separator: str) -> None:
    rows = (
        "\ufefffile,split,label,bias",
        "a.png,test,007,NA",
        "b.png,test,cow,",
        "c.png,test,x, 1 ",
    )
    path = write(tmp_path, "\n".join(rows).replace(",", separator))
    assert read_bias_labels(path).to_dict("list") == {
        "file": ["a.png", "c.png"],
        "bias": ["NA", "1"],
    }


def test_no_file_gives_no_rows() -> None:
    assert list(read_bias_labels("")) == ["file", "bias"] and read_bias_labels("").empty


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("file,split,label,bias\na.png,test,cow,\n", "no bias label"),
        ("path,bias\na.png,sand\n", "no column file"),
        ("file,label\na.png,cow\n", "no column bias"),
        ("a,b\n1,2,3\n", "labels.csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = str(tmp_path / "labels.csv") if text is None else write(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_bias_labels(path)
    assert said in str(error.value) and path in str(error.value)
