import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kedro.io import DataCatalog
from kedro.validation.exceptions import DataValidationError
from pandera.errors import SchemaErrors

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.attributes import Attribute
from debias_pipeline.biased_data.manifest import (
    Manifest,
    check_test_split,
    make_data,
    make_data_card,
    make_manifest,
)


def small_manifest() -> pd.DataFrame:
    return make_manifest(
        split=["train", "train", "valid", "test"],
        label=[0, 1, 2, 3],
        bias=[0, 2, 2, -1],
        conflicting=[False, True, False, None],
        source=["a/0.png", "a:1.png", "b#2", "c..d.png"],
    )


rows = st.tuples(
    st.sampled_from(["train", "valid", "test"]),
    st.integers(0, 32767),
    st.integers(-1, 32767),
    st.sampled_from([True, False, None]),
    st.text(alphabet="abc/#_.0", min_size=1).filter(
        lambda text: not text.startswith("/") and ".." not in text
    ),
)


@pytest.mark.slow
@given(st.lists(rows, min_size=1, max_size=20))
def test_whatever_is_put_in_is_found_again(values):
    split, label, bias, conflicting, source = zip(*values, strict=True)
    frame = make_manifest(
        split=split, label=label, bias=bias, conflicting=conflicting, source=source
    )
    types = {"image_id": "int64", "label": "int16", "bias": "int16", "conflicting": "boolean"}
    assert {name: str(frame[name].dtype) for name in types} == types
    assert frame["image_id"].tolist() == list(range(len(values)))
    assert frame["label"].tolist() == list(label)
    assert frame["bias"].tolist() == list(bias)
    assert [None if flag is pd.NA else flag for flag in frame["conflicting"]] == list(conflicting)
    assert frame["source"].tolist() == list(source)


def test_without_bias_labels_all_is_unknown():
    frame = make_manifest(split=["train"], label=[0], bias=None, conflicting=None, source=["a.png"])
    assert frame["bias"].tolist() == [-1]
    assert frame["conflicting"].isna().all()


def test_only_an_attribute_says_which_of_its_images_conflict():
    colour = Attribute("colour", ["red", "green"], np.array([0, 1], np.int16), [0, 1])
    with pytest.raises(ValueError, match="conflicting"):
        make_data(
            get_dataset("cmnist"),
            np.zeros((2, 4, 4, 3), np.uint8),
            percent="2pct",
            seed=0,
            origin="",
            split=["train", "train"],
            label=np.array([0, 0], np.int16),
            bias=colour,
            conflicting=[False, False],
            source=["a", "b"],
        )


def test_kedro_validates_manifests_on_save_and_on_load(tmp_path):
    entry = {"type": "pandas.ParquetDataset", "filepath": str(tmp_path / "manifest.parquet")}
    checked = entry | {"validator": "debias_pipeline.biased_data.manifest.Manifest"}

    def catalog(of_entry):
        return DataCatalog.from_config({"manifest": of_entry})

    catalog(checked).save("manifest", small_manifest())
    pd.testing.assert_frame_equal(catalog(checked).load("manifest"), small_manifest())
    wrong = small_manifest().astype({"label": "int64"})
    with pytest.raises(DataValidationError):
        catalog(checked).save("manifest", wrong)
    catalog(entry).save("manifest", wrong)
    with pytest.raises(DataValidationError):
        catalog(checked).load("manifest")


WRONG = [
    *({"image_id": value} for value in ([1, 2, 3, 4], [0, 0, 1, 2], np.arange(4, dtype=np.int32))),
    *({"split": ["train", "train", value, "test"]} for value in ("val", None)),
    *({"label": value} for value in (np.array([-1, 0, 0, 0], np.int16), [0, 1, 2, 3])),
    *({"bias": value} for value in (np.array([-2, 0, 0, 0], np.int16), [0.0, 1.0, 2.0, 3.0])),
    {"conflicting": [True, False, True, False]},
    *({"source": [value] * 4} for value in ("/etc/a.png", "\\\\host\\a.png", "C:/a.png")),
    *({"source": [value] * 4} for value in ("a/../../b.png", "..", "", None)),
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_each_rule_is_enforced(change):
    with pytest.raises(SchemaErrors):
        Manifest.validate(small_manifest().assign(**change), lazy=True)


def test_further_columns_are_carried_along():
    extra = pd.DataFrame({"camera": ["a", "b"], "source": ["x", "y"]}, index=[5, 9])
    known = {"split": ["train", "test"], "label": [0, 1], "source": ["a.png", "b.png"]}
    frame = make_manifest(**known, bias=None, conflicting=None, extra=extra)
    assert frame["camera"].tolist() == ["a", "b"]
    assert frame["source"].tolist() == ["a.png", "b.png"]
    assert frame["table_source"].tolist() == ["x", "y"]


def test_no_column_may_be_missing():
    for column in ("image_id", "split", "label", "bias", "conflicting", "source"):
        with pytest.raises(SchemaErrors, match=column):
            Manifest.validate(small_manifest().drop(columns=column), lazy=True)


def data_card(**changes):
    values = {"percent": "2pct", "seed": 3, "image_shape": (28, 28, 3), "origin": "made up"}
    return make_data_card(get_dataset("cmnist_mini"), small_manifest(), **values, **changes)


def test_data_card_counts_what_is_known():
    card = data_card()
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["splits"] == {
        "train": {"images": 2, "conflicting": 1, "conflicting_fraction": 0.5},
        "valid": {"images": 1, "conflicting": 0, "conflicting_fraction": 0.0},
        "test": {"images": 1, "conflicting": None, "conflicting_fraction": None},
    }
    assert card["test_split"] == {"unbiased": None, "association": None}
    assert card["dataset"] == "cmnist_mini"
    assert card["headline"] == "accuracy"
    assert card["image_shape"] == [28, 28, 3]
    assert card["label_names"] == [str(digit) for digit in range(10)]
    assert len(card["bias_names"]) == 10
    assert (card["percent"], card["seed"], card["origin"]) == ("2pct", 3, "made up")


def test_data_card_takes_names_known_only_from_the_data():
    card = data_card(label_names=["cat", "dog"], bias_names=[])
    assert card["label_names"] == ["cat", "dog"]
    assert card["bias_names"] == []


def split_of(counts):
    """A manifest of test images: counts of label (row) and bias (column)."""
    cells = [(row, column) for row, column in np.ndindex(np.shape(counts))]
    label, bias = np.repeat(cells, np.ravel(counts), axis=0).T
    n = len(label)
    return make_manifest(
        split=["test"] * n, label=label, bias=bias, conflicting=label != bias, source=["a.png"] * n
    )


EVEN, EYE = [[250, 250], [250, 250]], np.eye(10, dtype=int)
DRAWN = np.random.default_rng(0).multinomial(1000, [0.01] * 100).reshape(10, 10)
COUNTS = {
    "drawn evenly": (DRAWN, True),
    "even": (EVEN, True),
    "independent": ([[400, 100], [320, 80]], True),
    "aligned": ([[31, 1], [1, 31]], False),
    "conflicting only": ([[0, 50], [50, 0]], False),
    "weakly aligned": ([[300, 200], [200, 300]], False),
    "ten labels": (EYE * 90, False),
    # What cannot be checked is not called unbiased.
    "too few": ([[2, 2], [2, 2]], None),
    "an image per label": (EYE, None),
    "one bias value": ([[50], [50]], None),
    "one label": ([[50, 50]], None),
}


@pytest.mark.parametrize("case", COUNTS)
def test_a_test_split_is_unbiased_where_label_and_bias_are_independent(case):
    counts, unbiased = COUNTS[case]
    found = check_test_split(split_of(counts))
    assert found["unbiased"] is unbiased
    if unbiased is False:
        assert 0.1 < found["association"] <= 1


@pytest.mark.parametrize(("labels", "images_of_each"), [(2, 10), (2, 50), (10, 6)])
def test_the_association_is_one_where_the_label_determines_the_bias(labels, images_of_each):
    counts = np.eye(labels, dtype=int) * images_of_each
    assert check_test_split(split_of(counts))["association"] == pytest.approx(1)


def test_one_missing_bias_label_leaves_the_test_split_unchecked():
    manifest = split_of(EVEN)
    manifest.loc[0, "bias"] = -1
    assert check_test_split(manifest) == {"unbiased": None, "association": None}
