"""Optimiser and learning-rate schedule of a recipe."""

import pytest
from pydantic import ValidationError

from debias_pipeline.methods import Recipe, get_method

DISENT = {
    "method": "disent", "lambda_dis": 1, "lambda_swap_b": 1, "lambda_swap": 1,
    "swap_start": 30, "decay_every": 10, "gamma": 0.5,
}  # fmt: skip


def recipe(**changes):
    fields = {"method": "vanilla", "network": "mlp", "lr": 0.8, "batch_size": 4, "steps": 50}
    fields |= changes
    return get_method(fields["method"]).recipe_type(**fields)


def rates(of: Recipe, *steps):
    return [of.learning_rate(step) for step in steps]


def test_the_default_is_adam_without_weight_decay_at_a_constant_rate():
    of = recipe()
    assert (of.optimiser, of.momentum, of.weight_decay) == ("adam", 0, 0)
    assert rates(of, 0, 49) == [0.8, 0.8]


def test_the_step_schedule_multiplies_the_rate_every_so_many_steps():
    of = recipe(schedule="step", decay_every=20, gamma=0.5)
    assert rates(of, 0, 19, 20, 39, 40) == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_disent_counts_its_decays_from_swap_start():
    of = recipe(**DISENT)
    assert of.schedule == "step"
    assert rates(of, 0, 39, 40, 49) == [0.8, 0.8, 0.4, 0.4]


def test_decays_given_for_another_method_of_the_run_do_not_change_a_constant_rate():
    of = recipe(decay_every=10, gamma=0.5)
    assert rates(of, 0, 49) == [0.8, 0.8]
    assert (of.decay_every, of.gamma) == (None, None)


@pytest.mark.parametrize(
    ("changes", "field", "advice"),
    [
        ({"momentum": 0.9}, "momentum", "set optimiser=sgd"),
        ({"optimiser": "sgd", "momentum": 1}, "momentum", "less than 1"),
        ({"optimiser": "adamw"}, "optimiser", "'adam' or 'sgd'"),
        ({"weight_decay": -1}, "weight_decay", "greater than or equal to 0"),
        ({"schedule": "cosine"}, "schedule", "'constant' or 'step'"),
        ({"schedule": "step", "gamma": 0.5}, "decay_every", "both decay_every and gamma"),
        ({"schedule": "step", "decay_every": 5}, "gamma", "both decay_every and gamma"),
        ({**DISENT, "schedule": "constant"}, "schedule", "'step'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_field(changes, field, advice):
    with pytest.raises(ValidationError) as refused:
        recipe(**changes)
    (problem,) = refused.value.errors()
    assert problem["loc"] == (field,)
    assert advice in problem["msg"]


def test_a_recipe_is_read_back_from_its_plain_values():
    for of in (
        recipe(optimiser="sgd", momentum=0.9, schedule="step", decay_every=5, gamma=0.1),
        recipe(**DISENT),
    ):
        assert type(of).model_validate(of.model_dump()) == of
