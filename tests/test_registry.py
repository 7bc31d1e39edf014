"""Classes are found by the files of their package alone."""

import itertools
import re
import sys
from abc import ABC, abstractmethod

import pytest

from debias_pipeline.errors import UserError
from debias_pipeline.registry import discover, look_up


class Shape(ABC):
    @abstractmethod
    def area(self): ...


# Python imports a package of one name only once.
NUMBERS = itertools.count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a package with some modules and discovers its shapes."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "shape_base", sys.modules[__name__])

    def discovered(**modules):
        name = f"shapes_{next(NUMBERS)}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        for module, text in modules.items():
            header = f"from shape_base import Shape\nfrom {name}.plain import *\n"
            (folder / f"{module}.py").write_text(("" if module == "plain" else header) + text)
        return discover(name, Shape, skip=("skipped",))

    return discovered


PLAIN = """
from shape_base import Shape
class Plain(Shape):
    def __init__(self): ...
"""
ROUND = "class Round(Plain):\n    name = 'round'\n    def area(self): ...\n"


def test_classes_are_found_once_and_base_classes_and_skipped_modules_are_left_out(package):
    square = ROUND.replace("Round", "Square").replace("round", "square")
    found = package(plain=PLAIN, z_round=ROUND, square=square, skipped="raise RuntimeError")
    assert {name: each.__name__ for name, each in found.items()} == {
        "round": "Round",
        "square": "Square",
    }
    assert list(found) == ["round", "square"]


WRONG = {
    "no name": (ROUND.replace("name = 'round'", "side = 1"), ["has no name", "ClassVar"]),
    "something is missing": ("class Round(Plain):\n    name = 'round'\n", ["lacks area"]),
    "the name is taken": (ROUND + ROUND.replace("Round", "Other"), ["both named 'round'", "Other"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_incomplete_class_is_an_error_that_names_it_and_its_file(package, case):
    text, words = WRONG[case]
    with pytest.raises(UserError) as refused:
        package(plain=PLAIN, round=text)
    assert re.search(r"Round in shapes_\d+/round.py", str(refused.value))
    assert all(word in str(refused.value) for word in words)


def test_an_unknown_name_is_an_error_with_the_nearest_one_and_all_names():
    with pytest.raises(UserError, match=r"Unknown fruit 'aple'.*mean apple\?.*apple, pear"):
        look_up("fruit", "aple", {"apple": 1, "pear": 2})
    assert look_up("fruit", "pear", {"apple": 1, "pear": 2}) == 2
