"""Dead feature units, and which seeds have collapsed."""

import pytest
import torch

from debias_pipeline.collapse import collapsed_seeds
from debias_pipeline.evaluation import FeatureUnits
from debias_pipeline.methods import Task, get_method

SHAPE = (4, 4, 3)
# 16 units of the MLP.
UNITS = 16


def method_with_dead_units(name, *dead):
    """A method whose debiased branch has so many units that are always zero, by replica."""
    fields = {"method": name, "network": "mlp", "lr": 0.1, "batch_size": 4, "steps": 1}
    kind = get_method(name)
    method = kind(kind.recipe_type(**fields, eval_every=1), Task(SHAPE, 3, range(len(dead))))
    third = method.encoder.third
    with torch.no_grad():
        third.weight.zero_()
        third.bias.fill_(-1)
        for replica, count in enumerate(dead):
            third.bias[replica, 0, count:] = 1
    return method


@pytest.mark.parametrize("name", ["vanilla", "lff", "lc"])
def test_the_share_of_units_that_are_zero_for_every_image(name):
    method = method_with_dead_units(name, 4, 16, 0)
    units = FeatureUnits(method)
    with units.watching(), torch.inference_mode():
        method.predict_branches(torch.rand(1, 5, 3, 4, 4))
    assert units.dead_share().tolist() == [4 / UNITS, 1, 0]
    assert not any(each._forward_hooks for each in method.modules())


def test_a_unit_is_alive_if_it_is_not_zero_for_an_image_of_any_batch():
    method = method_with_dead_units("vanilla", 15)
    # A unit that follows the brightness of the first pixel, through both hidden layers.
    with torch.no_grad():
        for layer in (method.encoder.first, method.encoder.second):
            layer.weight.zero_()
            layer.bias.zero_()
        method.encoder.first.weight[0, 0, 0, 0] = 255
        method.encoder.second.weight[0, 0, 0, 0] = 1
        method.encoder.third.weight[0, 0, 0, 0] = 2
    units = FeatureUnits(method)
    bright = torch.zeros(1, 1, 3, 4, 4)
    bright[..., 0, 0] = 1
    with units.watching(), torch.inference_mode():
        method.predict(torch.zeros(1, 1, 3, 4, 4))
        assert units.dead_share().tolist() == [15 / UNITS]
        method.predict(bright)
    assert units.dead_share().tolist() == [14 / UNITS]


@pytest.mark.parametrize(
    ("accuracies", "dead", "expected"),
    [
        # 22 points below the median of 88, with more dead units than the median of 0.5.
        ([0.88, 0.66, 0.89, 0.88, 0.87, 0.91], [0.5, 0.75, 0.5, 0.5, 0.4, 0.5], [11]),
        # 9 points below.
        ([0.88, 0.79, 0.89], [0.5, 0.75, 0.5], []),
        # Far below, but not with more dead units than others.
        ([0.88, 0.66, 0.89], [0.5, 0.5, 0.5], []),
        # Nearly all units are dead, whatever the others do.
        ([0.10, 0.10], [15 / 16, 1], [10, 11]),
        ([0.88], [14 / 16], []),
        # Of two seeds, it is not known which one is typical.
        ([0.88, 0.30], [0.25, 0.75], []),
        ([None, None, None], [0.25, 0.95, 0.5], [11]),
    ],
)
def test_collapsed_seeds(accuracies, dead, expected):
    assert collapsed_seeds(range(10, 10 + len(dead)), accuracies, dead) == expected
