"""What tests that run over all methods need to know of a method: nothing but its recipe file."""

from pathlib import Path

from omegaconf import OmegaConf

from debias_pipeline.methods import Recipe, get_method

RECIPES = Path(__file__).parents[1] / "conf/base/parameters_recipes"


def required_fields(method):
    """The required fields that a method adds to `Recipe`'s, as in its first recipe."""
    needed = _required(get_method(method).recipe_type) - _required(Recipe)
    if not needed:
        return {}
    tables = OmegaConf.load(RECIPES / f"{method}.yml")[method].recipes
    first = next(table for name, table in tables.items() if name != "all")
    recipe = {**tables.get("all", {}), **first}
    return {name: recipe[name] for name in needed}


def _required(recipe_type):
    return {name for name, field in recipe_type.model_fields.items() if field.is_required()}
