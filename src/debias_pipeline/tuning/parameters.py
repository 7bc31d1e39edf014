"""Validate the parameters of a search, and the ranges of the methods that it tunes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator

from debias_pipeline.errors import UserError
from debias_pipeline.methods import get_method
from debias_pipeline.ranges import Range
from debias_pipeline.recipes import method_file, no_recipe, ranges_of
from debias_pipeline.selection_rules import BEST_ON_TEST, PSEUDO_GROUPS
from debias_pipeline.validation import TypedList, validated

# The name of the pipeline, and the key of its parameters.
TUNE: Final = "tune"
# The method whose bias branch gives the pseudo-groups in which all trials are scored.
REFERENCE: Final = "lff"


class TuneParameters(BaseModel):
    """The key `tune` of the parameters; see conf/base/parameters_tune.yml."""

    model_config = ConfigDict(extra="forbid")

    trials: StrictInt = Field(default=20, ge=1)
    methods: TypedList[str]
    sampler: Literal["tpe", "random"] = "tpe"
    selection: Literal["selected", "pseudo_groups", "last"] = "selected"
    seed: StrictInt = Field(default=0, ge=0, lt=2**32)

    @field_validator("selection", mode="before")
    @classmethod
    def _uses_no_test_images(cls, value: object) -> object:
        if value == BEST_ON_TEST.key:
            raise ValueError(
                "the test split must not be used to tune; use selected, pseudo_groups or last"
            )
        return value


def resolve_tune(
    block: Mapping[str, Any], config: Mapping[str, Any], run: Mapping[str, Any]
) -> dict[str, Any]:
    """Validate the parameters of a search, and look up recipes and ranges of its methods.

    Args:
        block: the key `tune` of the parameters.
        config: see `recipes.resolve_method`; other keys are ignored.
        run: from `parameters.resolve_parameters`.

    Returns:
        The fields of TuneParameters; `searches`: per method `recipe` (if it has one for the data
        set) and `ranges`, without the recipe fields that the user has set; and `reference`: the
        recipe of REFERENCE, or None.

    Raises:
        UserError: if a value is invalid.
    """
    tune = validated(TuneParameters, block, what="key of tune", prefix="tune.")
    for method in tune.methods:
        get_method(method)
    return {
        **tune.model_dump(),
        "reference": run[REFERENCE].get("recipe"),
        "searches": {
            method: {
                **{key: run[method][key] for key in ("recipe",) if key in run[method]},
                "ranges": {
                    field: each
                    for field, each in ranges_of(method, config, run["dataset"]).items()
                    if field not in run["recipe"]
                },
            }
            for method in tune.methods
        },
    }


def check_searches(tune: Mapping[str, Any], dataset: str) -> None:
    """Check that all values of the ranges are valid, and that the recipe's own is among them.

    Args:
        tune: see `resolve_tune`; every method has a recipe.
        dataset: name of the data set.

    Raises:
        UserError: if a value is invalid, or a method has no range.
    """
    if tune["selection"] == PSEUDO_GROUPS.key and tune["reference"] is None:
        raise UserError(no_recipe(REFERENCE, dataset))
    for method, search in tune["searches"].items():
        recipe, file = search["recipe"], method_file(method)
        if not search["ranges"]:
            raise UserError(
                f"{method} has no range to search; add ranges to {file}, or set fewer recipe "
                "fields in --params"
            )
        for field, fields in search["ranges"].items():
            tried = Range.model_validate(fields)
            for value in tried.ends:
                validated(
                    get_method(method).recipe_type,
                    {**recipe, field: value},
                    what="recipe field",
                    prefix=f"range of {method}: ",
                    file=f"{file} or defaults.yml",
                )
            if not tried.contains(recipe[field]):
                raise UserError(
                    f"{field}={recipe[field]} in the recipe of {method} on {dataset} is not in its "
                    f"range ({tried}); change ranges in {file}, or keep the field by --params "
                    f"recipe.{field}={recipe[field]}"
                )


def check_tune_typed(pipelines: Iterable[str], typed: Iterable[str]) -> None:
    """Check that `--params` sets no key of a search in a run that is none.

    Args:
        pipelines: names of the pipelines of the run.
        typed: the first parts of the keys of `--params`.

    Raises:
        UserError: if it does.
    """
    if TUNE in typed and TUNE not in pipelines:
        raise UserError(
            f"--params {TUNE}.… is used only by --pipeline={TUNE}; add --pipeline={TUNE}, or leave "
            "it out"
        )
