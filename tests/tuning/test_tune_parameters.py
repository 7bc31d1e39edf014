"""The key `tune` and the ranges in the recipe files: what is searched, and what is refused."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader

from debias_pipeline.biased_data import dataset_names
from debias_pipeline.errors import UserError
from debias_pipeline.methods import method_names
from debias_pipeline.parameters import resolve_parameters
from debias_pipeline.recipes import check_files
from debias_pipeline.tuning import check_searches, check_tune_typed, resolve_tune

CONF = Path(__file__).parents[2] / "conf"


@cache
def config():
    # Read once, as it takes most of a second.
    loader = OmegaConfigLoader(str(CONF), default_run_env="local", base_env="base")
    return dict(loader["parameters"])


def tune(tuned=None, **params):
    blocks = {key: value for key, value in config().items() if key != "benchmark"} | params
    block = {**blocks.pop("tune"), **(tuned or {})}
    return resolve_tune(block, blocks, resolve_parameters(blocks))


def files(**blocks):
    return {"recipe_defaults": {}, "published_sources": {}, **blocks}


@pytest.mark.parametrize("dataset", dataset_names())
def test_ranges_of_every_method_are_valid_and_contain_its_recipe(dataset):
    for percent in ("0.5pct", "2pct") if dataset == "cifar10c" else ("2pct",):
        found = tune({"methods": method_names()}, dataset=dataset, percent=percent)
        searches = {name: each for name, each in found["searches"].items() if "recipe" in each}
        assert {"vanilla", "lff"} <= set(searches)
        check_searches({**found, "searches": searches}, dataset)


def test_a_method_adds_its_ranges_to_those_of_every_method():
    searches = tune()["searches"]
    assert list(searches["vanilla"]["ranges"]) == ["lr"]
    assert list(searches["lff"]["ranges"]) == ["lr", "q", "alpha"]
    of_cifar = tune(dataset="cifar10c", percent="5pct")["searches"]
    assert of_cifar["vanilla"]["ranges"]["lr"]["high"] == 0.005


def test_a_recipe_field_that_is_typed_is_not_searched():
    found = tune({"methods": "lff+disent"}, recipe={"lr": 0.5})
    assert list(found["searches"]["lff"]["ranges"]) == ["q", "alpha"]
    check_searches(found, "cmnist_mini")
    nothing = tune({"methods": "vanilla"}, recipe={"lr": 0.5})
    with pytest.raises(UserError, match=r"vanilla has no range to search; .*vanilla\.yml"):
        check_searches(nothing, "cmnist_mini")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trails": 3}, "Unknown key of tune 'trails'. Did you mean trials[?]"),
        ({"trials": 0}, "tune.trials=0: .*greater than or equal to 1"),
        ({"methods": "lf+vanilla"}, "Unknown method 'lf'. Did you mean lff[?]"),
        ({"sampler": "grid"}, "tune.sampler='grid': .*'tpe' or 'random'"),
        ({"selection": "best_on_test"}, "tune.selection='best_on_test': .*test split"),
    ],
)
def test_wrong_parameters_are_refused_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as refused:
        resolve_tune({"methods": "lff"} | given, {}, {})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"q": {"low": 0.9, "high": 0.3}}, "lff.ranges.all.q=.*low=0.9 is not below high=0.3"),
        ({"q": {"low": 0, "high": 1, "log": True}}, "low=0 has no logarithm"),
        ({"q": {"low": 0.1}}, "give low and high, or choices"),
        ({"q": {"low": 0.1, "high": 1, "choices": [1, 2]}}, "use one of them"),
        ({"q": {"lo": 0.1, "high": 1}}, "Unknown key lff.ranges.all.q.lo"),
        ({"q": 0.7}, "lff.ranges.all.q=0.7: use {low"),
        ({"p": {"low": 0.1, "high": 1}}, "Unknown field of lff.ranges.all 'p'. .*lff.yml"),
    ],
)
def test_wrong_ranges_in_a_file_are_refused_in_one_line(fields, message):
    with pytest.raises(UserError, match=message) as refused:
        check_files(files(lff={"ranges": {"all": fields}}))
    assert "\n" not in str(refused.value)


def test_wrong_default_ranges_are_refused():
    with pytest.raises(UserError, match=r"Unknown field of default_ranges\.all 'q'.*defaults\.yml"):
        check_files(files(default_ranges={"all": {"q": {"low": 0.1, "high": 1}}}))
    with pytest.raises(UserError, match=r"Did you mean cmnist\?"):
        check_files(files(default_ranges={"cmnits": {}}))


@pytest.mark.parametrize(
    ("field", "tried", "message"),
    [
        ("lr", {"low": -1, "high": 1}, "range of lff: lr=-1: .*greater than 0.*lff.yml"),
        ("optimiser", {"choices": ["adam", "sdg"]}, "range of lff: optimiser='sdg'"),
        ("lr", {"low": 0.1, "high": 1}, r"lr=0.01 .*not in its range \(0.1 to 1\).*recipe.lr=0.01"),
    ],
)
def test_ranges_with_invalid_values_or_without_the_own_one_are_refused(field, tried, message):
    found = deepcopy(tune())
    found["searches"]["lff"]["ranges"][field] = tried
    with pytest.raises(UserError, match=message):
        check_searches(found, "cmnist_mini")


def test_keys_of_a_search_are_refused_where_they_have_no_effect():
    check_tune_typed(["tune"], ["tune", "recipe"])
    check_tune_typed(["lff"], ["recipe"])
    with pytest.raises(UserError, match="used only by --pipeline=tune; add --pipeline=tune"):
        check_tune_typed(["lff"], ["tune"])
