import numpy as np
import pytest
from pydantic import ValidationError

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.attributes import Attribute, AttributeOptions, choose_bias
from debias_pipeline.errors import UserError

LABEL = np.array([0, 0, 1, 1, 1], np.int16)
PLACE = Attribute("place", ["sea", "land"], np.array([0, 1, 1, -1, 1], np.int16), [0, 1])
SIZE = Attribute("size", ["s", "m", "l"], np.array([2, 2, 0, 0, 1], np.int16), [2, None])


def test_the_first_attribute_is_the_bias_unless_another_is_chosen():
    assert choose_bias([PLACE, SIZE], "") is PLACE
    assert choose_bias([PLACE, SIZE], "size") is SIZE
    assert PLACE.conflicting(LABEL) == [False, True, False, None, False]
    assert SIZE.conflicting(LABEL) == [False, False, None, None, None]


def test_a_combination_has_a_value_per_pair_and_conflicts_if_any_part_does():
    both = choose_bias([PLACE, SIZE], "place+size")
    assert both.name == "place+size"
    assert both.value_names == ["sea/s", "sea/m", "sea/l", "land/s", "land/m", "land/l"]
    assert both.values.tolist() == [2, 5, 3, -1, 4]
    assert both.values.dtype == np.int16
    assert both.aligned == [2, None]
    assert both.conflicting(LABEL) == [False, True, None, None, None]
    assert choose_bias([PLACE, SIZE], "size+place").values.tolist() == [4, 5, 1, -1, 3]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("sise", "Did you mean size?"),
        ("size+size", "names an attribute twice"),
        ("place+many", "40,000 combinations of values, at most 32,768"),
    ],
)
def test_a_wrong_choice_is_refused(choice, words):
    many = Attribute("many", [""] * 20_000, np.zeros(5, np.int16), [0, 0])
    with pytest.raises(UserError, match=words.replace("?", r"\?")):
        choose_bias([PLACE, SIZE, many], choice)


@pytest.mark.parametrize("choice", ["../left", "left+", "left,right", "a b"])
def test_a_choice_that_cannot_name_a_folder_is_refused(choice):
    with pytest.raises(ValidationError):
        AttributeOptions(bias=choice)


def test_results_of_each_choice_have_a_folder_of_their_own(tmp_path):
    dataset = get_dataset("multi_color_mnist_mini")
    folders = {
        dataset.folder("2pct", tmp_path, 0, dataset.options_type(**options))
        for options in ({}, {"bias": "right"}, {"bias": "left+right"}, {"right_percent": "1pct"})
    }
    assert len(folders) == 4
    assert "multi_color_mnist_mini/2pct_biasleft+right" in folders


@pytest.mark.parametrize(
    ("name", "of_labels", "of_images"),
    [
        ("multi_color_mnist_mini", {"bias": "right"}, {"right_percent": "1pct"}),
        ("folder", {"bias": "size"}, {"image_size": 8}),
        ("celeba", {"target": "Young", "bias_attribute": "Smiling"}, {}),
    ],
)
def test_images_have_one_folder_whatever_the_label_and_the_bias(
    tmp_path, name, of_labels, of_images
):
    dataset = get_dataset(name)

    def folder(**options):
        return dataset.images_folder("2pct", tmp_path, 3, dataset.options_type(**options))

    options = dataset.options_type(**of_images)
    assert folder(**of_images, **of_labels) == dataset.folder("2pct", tmp_path, 3, options)
    assert (folder(**of_images) != folder()) == bool(of_images)
