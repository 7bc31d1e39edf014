"""What tests that run over all methods need to know of a method: nothing but its block."""

from pathlib import Path

from omegaconf import OmegaConf

from debias_pipeline.methods import Recipe, get_method

RECIPES = Path(__file__).parents[1] / "conf/base/parameters_recipes.yml"


def required_fields(method):
    """The fields that a method's recipe needs beyond any other's, as in its first recipe."""
    needed = _required(get_method(method).recipe_type) - _required(Recipe)
    recipe, *_ = OmegaConf.load(RECIPES)[method].recipes.values()
    return {name: recipe[name] for name in needed}


def _required(recipe_type):
    return {name for name, field in recipe_type.model_fields.items() if field.is_required()}
