from types import ModuleType

import pytest

from debias_pipeline.biased_data import (
    BiasedDataset,
    _find_datasets,
    dataset_names,
    get_dataset,
)
from debias_pipeline.errors import UserError


def test_names_are_sorted_and_lead_to_their_sets():
    names = dataset_names()
    assert list(names) == sorted(names)
    assert {"cmnist", "cmnist_mini"} <= set(names)
    for name in names:
        assert isinstance(get_dataset(name), BiasedDataset)
        assert get_dataset(name).name == name


def test_unknown_name_lists_the_choices_and_guesses():
    with pytest.raises(UserError) as caught:
        get_dataset("cmnits")
    message = str(caught.value)
    assert "\n" not in message
    assert "Did you mean cmnist?" in message
    assert all(name in message for name in dataset_names())


def module_with(name: str, **attributes) -> ModuleType:
    """A module with one concrete data set."""
    module = ModuleType(name)
    build = {"build": lambda self: None, "__module__": name}
    module.Made = type("Made", (BiasedDataset,), build | attributes)
    return module


def test_a_new_module_is_found_and_duplicate_or_missing_names_are_errors():
    one, two = module_with("one", name="squares"), module_with("two", name="squares")
    assert list(_find_datasets([one])) == ["squares"]
    with pytest.raises(TypeError, match=r"Made in two has the name 'squares' of Made in one"):
        _find_datasets([one, two])
    with pytest.raises(TypeError, match="Made in three has no name"):
        _find_datasets([module_with("three")])
