"""Methods are found by their files alone."""

import inspect

import pytest

from debias_pipeline.errors import UserError
from debias_pipeline.methods import (
    Losses,
    Method,
    Recipe,
    get_method,
    method_names,
    methods_by_name,
)

# Looked up before tests define classes that nobody should find.
VANILLA = get_method("vanilla")


def test_methods_are_found_whatever_class_they_build_on_and_that_class_is_none():
    assert {"disent", "lff", "vanilla"} <= set(method_names())
    for name in method_names():
        method = get_method(name)
        assert method.name == name
        assert not inspect.isabstract(method)


def test_there_is_no_method_without_a_file():
    with pytest.raises(KeyError):
        get_method("no_such_method")


class Tried(Method):
    """All that a method needs, but for its name."""

    def __init__(self, recipe, task):
        super().__init__(recipe, task)

    def losses(self, batch, step):
        return Losses(batch.images.sum((1, 2, 3, 4)))

    def predict(self, images):
        return images


def a_class(base, module="debias_pipeline.methods.tried", **members):
    """As if it stood in a file of methods/."""
    return type("Tried", (base,), {"__module__": module, **members})


def test_a_named_class_is_a_method_whose_hyper_parameters_need_no_mention():
    tried = a_class(Tried, name="tried")
    assert methods_by_name([a_class(Method), tried]) == {"tried": tried}
    assert tried.recipe_type is Recipe


def test_a_class_that_builds_on_a_method_elsewhere_is_none_of_the_projects():
    assert methods_by_name([a_class(Tried, "notebook"), a_class(Tried, "notebook", name="a")]) == {}


HALF = {
    "no name": (lambda: a_class(Tried), "has no name: add name: ClassVar"),
    "an inherited name": (lambda: a_class(VANILLA), "has no name: add name: ClassVar"),
    "no losses": (lambda: a_class(Method, name="tried"), "lacks __init__, losses, predict: write"),
    "a name that is taken": (
        lambda: a_class(Tried, name="vanilla"),
        "are both named 'vanilla': rename one",
    ),
}


@pytest.mark.parametrize("case", HALF)
def test_half_a_method_is_told_in_one_line_with_its_file(case):
    make, message = HALF[case]
    with pytest.raises(UserError) as refused:
        methods_by_name([VANILLA, make()])
    assert "Tried in debias_pipeline/methods/tried.py " in str(refused.value)
    assert message in str(refused.value)
