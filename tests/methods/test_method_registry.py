"""Methods are found by their files alone."""

import inspect

import pytest

from debias_pipeline.methods import get_method, method_names


def test_methods_are_found_whatever_class_they_build_on_and_that_class_is_none():
    assert {"disent", "lff", "vanilla"} <= set(method_names())
    for name in method_names():
        method = get_method(name)
        assert method.name == name
        assert not inspect.isabstract(method)


def test_there_is_no_method_without_a_file():
    with pytest.raises(KeyError):
        get_method("no_such_method")
