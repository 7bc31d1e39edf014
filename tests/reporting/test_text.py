import shlex

import pytest

from debias_pipeline.reporting import changes_in_words, find_recipe_changes
from debias_pipeline.reporting.significance import p_value_text
from debias_pipeline.reporting.text import (
    command,
    data_command,
    drawable_name,
    duration,
    mean_and_std,
    memory,
    points,
    range_over_seeds,
    run_command,
    training_command,
)

RECIPE = {"method": "disent", "lr": 0.01, "steps": 4000, "flip": False, "resize": None}
RECORD = {"seeds": [3, 4], "precision": "fp32", "recipe": RECIPE}
TYPED = {"dataset": "folder", "recipe": {}}


def params(text: str) -> str:
    *_, option, given = shlex.split(text)
    assert option == "--params"
    return given


def test_a_command_names_the_setting_and_the_seeds() -> None:
    text = run_command("disent", TYPED, RECORD, [])
    assert text == "kedro run --pipeline=disent --params dataset=folder,seed=3,seeds=2"


def test_a_command_names_what_the_training_was_made_with() -> None:
    typed = {**TYPED, "raw_dir": "my photos", "image_size": 32, "device": "cuda", "threads": 9}
    trained = {**RECORD, "precision": "bf16", "threads": 2, "device": "cpu"}
    text = run_command("disent", typed, trained, [])
    assert "raw_dir=my photos,image_size=32" in params(text)
    assert params(text).endswith(",device=cpu,threads=2,precision=bf16")


def test_a_command_names_the_environment() -> None:
    text = run_command("disent", {**TYPED, "env": "my cluster"}, RECORD, [])
    assert "--env=my cluster" in shlex.split(text)
    assert "cluster" not in params(text)
    assert "--env" not in run_command("disent", TYPED, RECORD, [])


def test_fields_of_the_recipe_are_those_of_the_training() -> None:
    # Trained with lr and flip overridden; reported in a run that overrides steps.
    trained = {**RECORD, "recipe": {**RECIPE, "lr": 0.1, "flip": True}}
    typed = {**TYPED, "recipe": {"steps": 10}}
    changes = find_recipe_changes(trained["recipe"], {**RECIPE, "steps": 4000})
    text = run_command("disent", typed, trained, changes)
    assert params(text).endswith("seeds=2,recipe.lr=0.1,recipe.flip=true")
    assert changes_in_words(changes) == "lr 0.1 instead of 0.01, flip true instead of false"


def test_a_constant_learning_rate_needs_no_decays() -> None:
    # The command line refuses decays that have no effect.
    default = {"schedule": "step", "decay_every": 100, "gamma": 0.5}
    recipe = {"schedule": "constant", "decay_every": None, "gamma": None}
    changes = find_recipe_changes(recipe, default)
    text = run_command("disent", TYPED, {**RECORD, "recipe": recipe}, changes)
    assert params(text).endswith(",recipe.schedule=constant")


def test_a_remedy_names_what_it_needs_of_the_run() -> None:
    typed = {**TYPED, "raw_dir": "my photos", "device": "cpu", "recipe": {"steps": 7}, "env": "x"}
    data = data_command("ingestion", typed)
    assert params(data) == "dataset=folder,raw_dir=my photos"
    assert "--env=x" in data
    trained = params(training_command("disent", typed))
    assert trained == "dataset=folder,recipe.steps=7,raw_dir=my photos,device=cpu"


@pytest.mark.parametrize("name", ["0123", "1e3", "null", "2024"])
def test_a_text_that_looks_like_another_value_is_quoted(name: str) -> None:
    assert params(command("x", {"raw_dir": name})) == f'raw_dir="{name}"'


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
        (duration(3599.7), "1 h 0 min"),
        (memory(None), "–"),
        (memory(640 * 2**20), "640 MiB"),
        (memory(3 * 2**29), "1.5 GiB"),
        (memory(2**30 - 2**18), "1.0 GiB"),
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
