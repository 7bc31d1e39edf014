from pathlib import Path

import numpy as np
import pytest

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.colored_digits import MEAN_COLOURS
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.errors import UserError

NOWHERE = Path("no/such/folder")


def build(percent: str = "2pct", seed: int = 0) -> BiasedData:
    return get_dataset("cmnist_mini").build(percent, NOWHERE, seed)


def test_shapes_and_manifest():
    data = build("5pct")
    assert data.images.shape == (5_000, 28, 28, 3)
    assert data.images.dtype == np.uint8
    manifest = Manifest.validate(data.manifest)
    assert manifest["source"].is_unique
    assert (manifest["conflicting"] == (manifest["label"] != manifest["bias"])).all()
    counts = manifest.groupby(["split", "label"]).size().unstack()
    for split, of_each_digit in {"train": 350, "valid": 50, "test": 100}.items():
        assert counts.loc[split].tolist() == [of_each_digit] * 10


@pytest.mark.parametrize(
    ("percent", "train", "valid"),
    [
        ("0pct", 0, 0),
        ("0.5pct", 18, 3),
        ("2pct", 70, 10),
        ("5pct", 175, 25),
        ("100pct", 3_500, 500),
    ],
)
def test_exactly_percent_conflict(percent, train, valid):
    data = build(percent)
    splits = data.data_card["splits"]
    assert (splits["train"]["conflicting"], splits["valid"]["conflicting"]) == (train, valid)
    assert splits["test"]["conflicting_fraction"] == pytest.approx(0.9, abs=0.04)


def test_colour_is_that_of_the_bias():
    data = build()
    brightest = data.images.reshape(5_000, -1, 3).max(axis=1) / 255
    means = MEAN_COLOURS[data.manifest["bias"].to_numpy()]
    assert np.abs(brightest - means).max() < 0.12  # five deviations, and strokes below white


def test_same_seed_same_bytes_other_seed_other_bytes():
    first, again, other = build(), build(), build(seed=1)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.manifest.equals(again.manifest)
    assert first.data_card == again.data_card
    assert first.images.tobytes() != other.images.tobytes()
    assert not first.manifest["source"].equals(other.manifest["source"])


def test_wrong_percent_is_refused():
    with pytest.raises(UserError, match="write 2pct"):
        build("2")
