import shlex

import pytest

from debias_pipeline.reporting.leaderboard_sections import p_value_text
from debias_pipeline.reporting.text import (
    command,
    drawable_name,
    duration,
    mean_and_std,
    memory,
    points,
    range_over_seeds,
    run_command,
)

RECIPE = {"method": "disent", "lr": 0.01, "steps": 4000, "flip": False, "resize": None}
RECORD = {"seeds": [3, 4], "precision": "fp32", "recipe": RECIPE}
TYPED = {"dataset": "folder", "percent": "2pct", "recipe": {}}


def params(text: str) -> str:
    *_, option, given = shlex.split(text)
    assert option == "--params"
    return given


def test_a_command_names_the_setting_and_the_seeds() -> None:
    text = run_command("disent", TYPED, RECORD, RECIPE)
    assert text == (
        "kedro run --pipeline=disent --params dataset=folder,percent=2pct,seed=3,seeds=2"
    )


def test_a_command_names_what_is_not_at_its_default() -> None:
    typed = {**TYPED, "raw_dir": "my photos", "image_size": 32}
    text = run_command("disent", typed, {**RECORD, "precision": "bf16", "threads": 2}, RECIPE)
    assert "raw_dir=my photos,image_size=32" in params(text)
    assert params(text).endswith(",precision=bf16,threads=2")


def test_a_command_names_the_environment() -> None:
    text = run_command("disent", {**TYPED, "env": "my cluster"}, RECORD, RECIPE)
    assert "--env=my cluster" in shlex.split(text)
    assert "cluster" not in params(text)
    assert "--env" not in run_command("disent", TYPED, RECORD, RECIPE)


def test_fields_of_the_recipe_are_those_of_the_training() -> None:
    # Trained with lr and flip overridden; reported in a run that overrides steps.
    trained = {**RECORD, "recipe": {**RECIPE, "lr": 0.1, "flip": True}}
    typed = {**TYPED, "recipe": {"steps": 10}}
    text = run_command("disent", typed, trained, {**RECIPE, "steps": 10})
    assert params(text).endswith("recipe.lr=0.1,recipe.steps=4000,recipe.flip=true")


def test_values_are_typed_as_they_are_read() -> None:
    text = command("benchmark", {"a": ["x", "y"], "b": {"c": None, "d": {}, "e": {"f": 1}}})
    assert text == "kedro run --pipeline=benchmark --params a=x+y,b.c=null,b.e.f=1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (mean_and_std(0.8612, 0.0071), "86.1 ± 0.7"),
        (mean_and_std(0.8612, None), "86.1"),
        (mean_and_std(None, None), "–"),
        (range_over_seeds({"mean": 1, "std": 0, "per_seed": [4000.0, 4000.0]}), "4,000"),
        (range_over_seeds({"mean": 1, "std": 0, "per_seed": [4000.0, 2500.0]}), "2,500–4,000"),
        (range_over_seeds(None), "–"),
        (points(0.3491), "+34.9"),
        (points(-0.0044), "−0.4"),
        (points(0.0001), "±0.0"),
        (duration(None), "–"),
        (duration(4.26), "4.3 s"),
        (duration(59.7), "1 min 0 s"),
        (duration(754.2), "12 min 34 s"),
        (duration(11_099.0), "3 h 5 min"),
        (memory(None), "–"),
        (memory(640 * 2**20), "640 MiB"),
        (memory(3 * 2**29), "1.5 GiB"),
        (p_value_text(0.0004), "< 0.001"),
        (p_value_text(0.0312), "= 0.031"),
        (p_value_text(0.04996), "= 0.04996"),
        (p_value_text(0.05), "= 0.050"),
    ],
)
def test_numbers_as_text(text: str, expected: str) -> None:
    assert text == expected


def test_names_in_figures_are_short_and_drawable() -> None:
    card = {"label_names": ["a long name", "数字"], "bias_names": []}
    assert drawable_name(card, "label", 0, 20) == "a long name"  # type: ignore[arg-type]
    assert drawable_name(card, "label", 0, 6) == "a lon…"  # type: ignore[arg-type]
    assert drawable_name(card, "label", 1, 20) == "label 1"  # type: ignore[arg-type]
    assert drawable_name(card, "bias", 7, 20) == "7"  # type: ignore[arg-type]
    assert drawable_name(card, "bias", -1, 20) == ""  # type: ignore[arg-type]
