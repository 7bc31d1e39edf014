from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.colored_digits import MEAN_COLOURS
from debias_pipeline.biased_data.manifest import Manifest

NOWHERE = Path("no/such/folder")


def build(name: str, raw_dir: Path = NOWHERE, seed: int = 0, **options: str) -> BiasedData:
    dataset = get_dataset(name)
    return dataset.build("2pct", raw_dir, seed, dataset.options_type(**options))


@pytest.fixture(scope="module")
def two_colours() -> BiasedData:
    return build("multi_color_mnist_mini")


def test_each_half_has_its_own_colour_and_its_own_fraction_of_conflicting_images(two_colours):
    manifest = Manifest.validate(two_colours.manifest)
    conflicting = manifest.groupby("split")[["conflicting_left", "conflicting_right"]].sum()
    assert conflicting.loc["train"].tolist() == [70, 175]
    assert conflicting.loc["test"].tolist() == [900, 900]
    for side, column, means in (
        ("left", 0, MEAN_COLOURS),
        ("right", 27, 1 - MEAN_COLOURS),
    ):
        value = manifest[f"bias_{side}"].to_numpy()
        assert (manifest[f"conflicting_{side}"] == (manifest["label"] != value)).all()
        corner = two_colours.images[:, 0, column] / 255
        assert np.abs(corner - means[value]).max() < 0.03  # six deviations


def test_the_bias_is_chosen_without_changing_the_images(two_colours):
    left = two_colours.manifest
    both = build("multi_color_mnist_mini", bias="left+right")
    assert both.images.tobytes() == two_colours.images.tobytes()
    joined = both.manifest
    assert joined["bias"].equals((10 * left["bias_left"] + left["bias_right"]).astype(np.int16))
    either = left["conflicting_left"] | left["conflicting_right"]
    assert joined["conflicting"].equals(either.rename("conflicting"))
    assert left["bias"].equals(left["bias_left"].rename("bias"))
    names = (both.data_card["bias_name"], two_colours.data_card["bias_name"])
    assert names == ("left+right", "left")
    assert len(both.data_card["bias_names"]) == 100
    assert list(both.data_card["attributes"]) == ["left", "right"]


def test_digits_are_white_on_the_colour_of_the_bias(mnist_dir):
    data = build("biased_mnist", mnist_dir)
    manifest = data.manifest
    colours = {tuple(image[0, 0]) for image in data.images[manifest["bias"] == 3]}
    assert colours == {(225, 225, 0)}
    assert (data.images[:, 1] == 255).all()
    test = manifest[manifest["split"] == "test"]
    assert (test["label"] == test["bias"]).mean() == pytest.approx(0.1, abs=0.01)
    assert "attributes" not in data.data_card


@pytest.mark.parametrize("name", ["multi_color_mnist", "biased_mnist"])
def test_same_seed_same_bytes_other_seed_other_bytes(name, mnist_dir):
    first, again, other = (build(name, mnist_dir, seed) for seed in (0, 0, 1))
    assert first.images.tobytes() == again.images.tobytes()
    assert first.manifest.equals(again.manifest)
    assert first.contact_sheet.pixels.tobytes() == again.contact_sheet.pixels.tobytes()
    assert first.images.tobytes() != other.images.tobytes()
    assert first.contact_sheet.pixels.shape == (60, 50, 3)


def test_a_wrong_percentage_of_the_right_colour_is_refused():
    with pytest.raises(ValidationError, match="write 5pct"):
        build("multi_color_mnist_mini", right_percent="5")
