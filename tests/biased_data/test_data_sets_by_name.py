import pytest

from debias_pipeline.biased_data import BiasedDataset, dataset_names, get_dataset
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
