"""Methods are found by their files alone."""

import inspect

import pytest

from debias_pipeline.errors import UserError
from debias_pipeline.methods import get_method, method_names


def test_methods_are_found_whatever_class_they_build_on():
    assert {"disent", "lff", "vanilla"} <= set(method_names())
    for name in method_names():
        method = get_method(name)
        assert method.name == name
        assert not inspect.isabstract(method)


def test_an_unknown_method_is_an_error_that_suggests_one():
    with pytest.raises(UserError, match=r"'disnt'.*mean disent\?"):
        get_method("disnt")
