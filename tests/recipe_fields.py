"""What tests that run over all methods need to know of a method: nothing but its block."""

from pathlib import Path

from omegaconf import OmegaConf

from debias_pipeline.methods import Recipe, get_method

RECIPES = Path(__file__).parents[1] / "conf/base/parameters_recipes.yml"


def required_fields(method):
    """The fields that a method's recipe needs beyond any other's, as in its first recipe."""
    fields = get_method(method).recipe_type.model_fields
    needed = {name for name, field in fields.items() if field.is_required()}
    recipe, *_ = OmegaConf.load(RECIPES)[method].recipes.values()
    return {name: recipe[name] for name in needed - {*Recipe.model_fields}}
