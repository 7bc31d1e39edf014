import shlex

from debias_pipeline.reporting import command, run_command

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
