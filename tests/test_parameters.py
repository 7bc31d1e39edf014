"""Parameters and recipes: the published table, defaults, overrides, and what is refused."""

import re
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader

from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.errors import UserError
from debias_pipeline.methods import get_method, method_names
from debias_pipeline.parameters import RUN_DEFAULTS, RunParameters, resolve_parameters
from debias_pipeline.recipes import check_decays, check_overrides, no_recipe
from debias_pipeline.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[1] / "conf"
PERCENTS = ("0.5pct", "1pct", "2pct", "5pct")

# Data set, percents, lr, batch, λ_dis, λ_swap_b, λ_swap, γ: the published recipes of DisEnt.
DISENT = [
    ("cmnist", PERCENTS, 0.01, 256, 10, 10, 1, 0.5),
    ("cifar10c", ("0.5pct",), 0.0005, 256, 1, 1, 1, 0.5),
    ("cifar10c", ("1pct", "2pct"), 0.001, 256, 5, 5, 1, 0.5),
    ("cifar10c", ("5pct",), 0.001, 256, 1, 1, 1, 0.5),
    ("bffhq", PERCENTS, 0.0001, 64, 2, 2, 0.1, 0.1),
]
VANILLA = [("cmnist", 0.01, 256), ("cifar10c", 0.001, 256), ("bffhq", 0.0001, 64)]


def loader(**runtime_params):
    return ProjectConfigLoader(
        str(CONF), base_env="base", default_run_env="local", runtime_params=runtime_params
    )


_READ = {}


def parameters(**runtime_params):
    """Return the parameters of a run; conf/ is read once for the same ones."""
    key = repr(sorted(runtime_params.items()))
    if key not in _READ:
        _READ[key] = loader(**runtime_params)["parameters"]
    return deepcopy(_READ[key])


def recipe(method, **runtime_params):
    return validated(parameters(**runtime_params), method)


def validated(given, method):
    return get_method(method).recipe_type.model_validate(given[method]["recipe"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "percents", "lr", "batch", "dis", "swap_b", "swap", "gamma"), DISENT
)
def test_published_recipes_of_disent(dataset, percents, lr, batch, dis, swap_b, swap, gamma):
    for percent in percents:
        of = recipe("disent", dataset=dataset, percent=percent)
        assert (of.lr, of.batch_size, of.gamma) == (lr, batch, gamma)
        assert (of.lambda_dis, of.lambda_swap_b, of.lambda_swap) == (dis, swap_b, swap)
        assert (of.swap_start, of.decay_every, of.q, of.alpha) == (10_000, 10_000, 0.7, 0.7)
        assert (of.steps, of.eval_every) == (50_000, 500)


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "lr", "batch"), VANILLA)
@pytest.mark.parametrize("percent", PERCENTS)
def test_published_recipes_of_vanilla(dataset, lr, batch, percent):
    of = recipe("vanilla", dataset=dataset, percent=percent)
    assert (of.lr, of.batch_size, of.steps, of.eval_every) == (lr, batch, 50_000, 500)
    assert of.learning_rate(0) == of.learning_rate(49_999) == lr


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cmnist_mini", "cmnist", "cifar10c", "bffhq", "folder"])
@pytest.mark.parametrize("percent", ["0.5pct", "5pct"])
def test_recipes_of_lff_are_those_of_vanilla(dataset, percent):
    given = parameters(dataset=dataset, percent=percent)
    ours, vanillas = (validated(given, name) for name in ("lff", "vanilla"))
    assert ours.model_dump() == {**vanillas.model_dump(), "method": "lff", "q": 0.7, "alpha": 0.7}
    assert ours.learning_rate(0) == ours.learning_rate(ours.steps - 1) == ours.lr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vanilla", "disent", "lff"])
def test_networks_and_transforms_are_those_of_the_data_set(method):
    assert recipe(method, dataset="cmnist").network == "mlp"
    assert recipe(method, dataset="cmnist").transform.normalise == "none"
    cifar = recipe(method, dataset="cifar10c")
    assert (cifar.network, cifar.resize, cifar.crop_padding) == ("resnet18", None, 4)
    bffhq = recipe(method, dataset="bffhq")
    assert (bffhq.network, bffhq.resize, bffhq.crop_padding) == ("resnet18", 224, 4)
    assert cifar.flip and bffhq.flip
    assert cifar.normalise == bffhq.normalise == "cifar10"


def test_published_accuracies_go_with_data_set_and_percent():
    def accuracies(method, **params):
        return [each["accuracy"] for each in parameters(**params)[method]["published_accuracy"]]

    assert accuracies("disent", dataset="cmnist", percent="2pct") == [0.8479, 0.8286]
    assert accuracies("vanilla", dataset="bffhq", percent="0.5pct") == [0.5687, 0.5547]
    assert accuracies("lff", dataset="cifar10c", percent="5pct") == [0.5027]
    assert accuracies("vanilla", dataset="bffhq", percent="1pct") == []
    assert accuracies("disent") == []


def test_published_accuracies_carry_source_selection_and_seeds():
    first, second = parameters(dataset="cmnist", percent="5pct")["lff"]["published_accuracy"]
    assert first == {
        "accuracy": 0.8057, "metric": "accuracy", "average_accuracy": None,
        "source": "Lee et al. 2021 (DisEnt), Table 1",
        "selection": "best_on_test", "seeds": 3,
        "note": "the authors' own images; the recipe of this method is not published",
    }  # fmt: skip
    assert (second["selection"], second["seeds"]) == ("unknown", 5)
    assert "LfF's generator" in second["note"]


def test_published_accuracies_without_percents_are_those_of_the_headline_metric():
    for method, worst, average in (("jtt", 0.867, 0.933), ("rwg", 0.876, None)):
        (only,) = parameters(dataset="waterbirds")[method]["published_accuracy"]
        assert (only["metric"], only["accuracy"]) == ("worst_group_accuracy", worst)
        assert only["average_accuracy"] == average
        assert only["selection"] == "validation"


@pytest.mark.parametrize(
    ("params", "has_published"),
    [
        ({"dataset": "celeba"}, True),
        ({"dataset": "celeba", "target": "Young"}, False),
        ({"dataset": "cifar10c", "percent": "2pct", "severity": 4}, True),
        ({"dataset": "cifar10c", "percent": "2pct", "severity": 1}, False),
        ({"dataset": "cmnist", "percent": "2pct", "conflicts": "even"}, True),
    ],
)
def test_published_accuracies_are_of_the_same_data(params, has_published):
    assert bool(parameters(**params)["lff"]["published_accuracy"]) == has_published


def test_a_published_metric_that_the_data_set_does_not_report_is_refused():
    broken = base_parameters()
    broken["jtt"]["published"] = [{"source": "lee2021", "waterbirds": {"accuracy": 0.5}}]
    with pytest.raises(UserError, match=r"jtt.published.waterbirds.*accuracy.*jtt.yml"):
        resolve_parameters(broken)


def test_any_percent_has_a_recipe():
    assert recipe("disent", dataset="cmnist", percent="3.5pct").lr == 0.01


def test_an_override_reaches_every_method_that_has_the_field():
    changed = parameters(recipe={"steps": 7, "swap_start": 3})
    assert changed["vanilla"]["recipe"]["steps"] == changed["disent"]["recipe"]["steps"] == 7
    assert changed["disent"]["recipe"]["swap_start"] == 3
    assert "swap_start" not in changed["vanilla"]["recipe"]


def test_a_field_that_no_method_of_the_run_has_is_refused():
    check_overrides({"swap_start": 3}, ["vanilla", "disent"])
    with pytest.raises(UserError, match="Unknown recipe field 'swap_start'"):
        check_overrides({"swap_start": 3}, ["vanilla"])
    with pytest.raises(UserError, match=r"Did you mean lambda_dis\?"):
        parameters(recipe={"lamda_dis": 3})
    with pytest.raises(UserError, match="Unknown recipe field 'method'"):
        parameters(recipe={"method": "vanilla"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "cminst"}, "Unknown dataset 'cminst'. Did you mean cmnist"),
        ({"percent": "abc"}, "percent='abc' is not a percent"),
        ({"percent": "150pct"}, "percent=.150pct.*from 0 to 100"),
        ({"percent": 2}, "write 2pct"),
        ({"seeds": 0}, "seeds=0: .*greater than or equal to 1"),
        ({"seed": -1}, "seed=-1: "),
        ({"seed": "x"}, "seed='x': "),
        ({"device": "gpu"}, "device='gpu': .*'cuda'"),
        ({"precision": "fp16"}, "precision='fp16': .*'bf16'"),
        ({"threads": 0}, "threads=0: .*auto, or a number"),
        ({"threads": "two"}, "threads='two': .*auto, or a number"),
        ({"datset": "cmnist"}, "Unknown parameter 'datset'. Did you mean dataset[?]"),
        ({"recipe": {"lr": -1}}, "recipe.lr=-1: .*greater than 0"),
        ({"recipe": {"lr": "fast"}}, "recipe.lr='fast': "),
        ({"recipe": {"steps": 1.5}}, "recipe.steps=1.5: "),
        ({"recipe": {"lr": float("nan")}}, "recipe.lr=nan: "),
        ({"recipe": {"network": "resnet19"}}, "recipe.network='resnet19': .*resnet20"),
        ({"recipe": {"normalise": True}}, "recipe.normalise=True: .*cifar10.*imagenet or none"),
        ({"recipe": {"lr": True}}, "recipe.lr=True: .*true and false"),
        ({"recipe": 3}, "recipe must be a mapping, got 3"),
    ],
)
def test_invalid_parameters_are_an_error_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as refused:
        parameters(**given)
    assert "\n" not in str(refused.value)


def test_results_are_filed_by_everything_that_makes_the_data():
    def folder(**given):
        filepath = loader(**given)["catalog"]["images"]["filepath"]
        return filepath.removeprefix("data/03_primary/").removesuffix("/images.npy")

    assert folder() == "cmnist_mini/2pct"
    assert folder(dataset="cmnist", percent="0.5pct") == "cmnist/0.5pct"
    assert folder(data_seed=3) == "cmnist_mini/2pct_data3"
    assert folder(seed=3, recipe={"steps": 5}) == "cmnist_mini/2pct"


def test_a_folder_may_be_called_by_a_number():
    assert parameters(raw_dir=2024)["raw_dir"] == "2024"


def test_defaults_that_commands_leave_out_are_those_of_the_configuration():
    base = base_parameters()
    assert {key: base[key] for key in RUN_DEFAULTS} == RUN_DEFAULTS
    resolved = resolve_parameters(base)
    assert resolved["typed"] == {"dataset": "cmnist_mini", "percent": "2pct", "recipe": {}}


def test_what_is_not_at_its_default_is_typed():
    typed = {"dataset": "cifar10c", "percent": "5pct", "severity": 2, "raw_dir": "x"}
    typed |= {
        "recipe": {"steps": 7},
        "device": "cpu",
        "precision": "bf16",
        "data_seed": 3,
        "threads": 1,
    }
    assert resolve_parameters({**base_parameters(), **typed})["typed"] == typed


@pytest.mark.parametrize(("env", "typed"), [(None, None), ("local", None), ("base", "base")])
def test_an_environment_that_is_not_the_default_is_typed(env, typed):
    resolved = ProjectConfigLoader(str(CONF), env, base_env="base", default_run_env="local")
    assert resolved["parameters"]["typed"].get("env") == typed


def test_a_file_of_an_environment_replaces_only_the_keys_that_it_has(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "mlflow.yml").write_text(
        "server: {mlflow_tracking_uri: 'http://a', request_header_provider: {}}\n"
        "tracking: {experiment: {name: mine}}\n"
    )
    for env, address in (("empty", "http://a"), ("other", "http://b")):
        (tmp_path / env).mkdir()
        if env == "other":
            file = tmp_path / env / "mlflow.yml"
            file.write_text("server: {mlflow_tracking_uri: 'http://b'}\n")
        assert ProjectConfigLoader(str(tmp_path), env, **CONFIG_LOADER_ARGS)["mlflow"] == {
            "server": {"mlflow_tracking_uri": address, "request_header_provider": {}},
            "tracking": {"experiment": {"name": "mine"}},
        }


def test_reports_have_the_address_of_mlflow_without_a_grid(tmp_path):
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "base" / "parameters_benchmark.yml").unlink()
    (tmp_path / "conf" / "base" / "mlflow.yml").write_text(
        "server: {mlflow_tracking_uri: 'http://me:secret@example.org:5000'}\n"
    )
    (tmp_path / "conf" / "local").mkdir(exist_ok=True)
    loader = ProjectConfigLoader(str(tmp_path / "conf"), **CONFIG_LOADER_ARGS)
    assert loader["parameters"]["benchmark"] == {"mlflow_ui": "http://example.org:5000"}
    assert "{method}.metrics" in loader["catalog"]


def test_every_parameter_is_typed_or_known_to_have_no_part_in_results():
    elsewhere = {"dataset", "percent", "seed", "seeds", "recipe", "pretrained", "resume"}
    elsewhere |= {"model", "images", "rule", "model_seed"}  # of --pipeline=predict
    elsewhere |= {"bias_labels"}  # typed if it is not empty
    elsewhere |= {"budget"}  # of --pipeline=audit, which records what it was spent on
    assert {*RunParameters.model_fields} == {*RUN_DEFAULTS} | elsewhere


def base_parameters():
    """Return the parameters as conf/base has them; it is read once."""
    if "base" not in _READ:
        arguments = {"default_run_env": "local", "base_env": "base"}
        _READ["base"] = OmegaConfigLoader(str(CONF), **arguments)["parameters"]
    config = deepcopy(_READ["base"])
    return {key: value for key, value in config.items() if key not in ("benchmark", "tune")}


def resolved_with(method, tables, **changes):
    """A method's parameters where its file holds other recipes."""
    config = base_parameters()
    block = {} if tables is None else {"recipes": tables}
    return resolve_parameters({**config, **changes, method: block})[method]


def test_a_method_without_required_fields_of_its_own_works_on_every_data_set_with_defaults():
    for tables in (None, {}):
        ours = resolved_with("lff", tables)["recipe"]
        assert (ours["steps"], ours["q"]) == (4000, 0.7)


def test_a_recipe_is_put_together_from_defaults_all_data_sets_one_data_set_and_percent():
    tables = {
        "all": {"q": 0.1, "alpha": 0.1, "lr": 0.1},
        "cmnist_mini": {"alpha": 0.2, "lr": 0.2, "at": {"2pct": {"lr": 0.3}, "5pct": {"lr": 0.4}}},
        "cmnist": {"q": 0.5},
    }
    of = resolved_with("lff", tables)["recipe"]
    assert (of["q"], of["alpha"], of["lr"], of["batch_size"]) == (0.1, 0.2, 0.3, 256)
    of = resolved_with("lff", tables, percent="5pct", recipe={"alpha": 0.9})["recipe"]
    assert (of["q"], of["alpha"], of["lr"]) == (0.1, 0.9, 0.4)


def test_a_method_that_lacks_fields_of_its_own_on_a_data_set_has_no_recipe_there():
    full = base_parameters()["disent"]["recipes"]["cmnist"]
    tables = {"cmnist": {**full, "lambda_swap": 1, "swap_start": 1, "decay_every": 1, "gamma": 1}}
    assert "recipe" not in resolved_with("disent", tables)
    assert "recipe" in resolved_with("disent", tables, dataset="cmnist")
    assert "recipe" not in resolved_with("disent", None)
    assert "conf/base/parameters_recipes/disent.yml" in no_recipe("disent", "folder")


def test_a_data_set_without_defaults_has_the_recipes_that_are_complete():
    config = {**base_parameters(), **{name: {} for name in method_names()}}
    del config["recipe_defaults"]["cmnist_mini"]
    assert "recipe" not in resolve_parameters(config)["vanilla"]
    full = {"network": "mlp", "lr": 0.01, "batch_size": 256, "steps": 40}
    config["vanilla"] = {"recipes": {"cmnist_mini": full}}
    assert resolve_parameters(config)["vanilla"]["recipe"]["steps"] == 40


def test_decays_that_no_method_of_the_run_makes_are_refused():
    recipes = {name: parameters()[name]["recipe"] for name in ("vanilla", "disent")}
    check_decays({"gamma": 0.1}, recipes)
    with pytest.raises(UserError, match=r"gamma=0.1 has no effect.*vanilla.*recipe.schedule=step"):
        check_decays({"gamma": 0.1}, {"vanilla": recipes["vanilla"]})


WRONG_BLOCKS = {
    "of no method": (
        {"vanila": {"recipes": {}}},
        "Unknown method 'vanila'. Did you mean vanilla?",
        "vanila.yml",
    ),
    "recipes without their key": (
        {"vanilla": {"cmnist_mini": {"steps": 3}}},
        "Unknown key of vanilla 'cmnist_mini'. Choose from: recipes, published, ranges",
        "vanilla.yml",
    ),
    "an unknown data set": (
        {"lff": {"recipes": {"cmnst": {"q": 0.5}}}},
        "Unknown data set of lff.recipes 'cmnst'. Did you mean cmnist?",
        "lff.yml",
    ),
    "an unknown field": (
        {"vanilla": {"recipes": {"cmnist_mini": {"step": 3}}}},
        "Unknown field of vanilla's recipe 'step'. Did you mean steps?",
        "vanilla.yml",
    ),
    "an unknown field of the defaults": (
        {"recipe_defaults": {"cmnist_mini": {"gama": 3}}},
        "Unknown field of recipe_defaults.cmnist_mini 'gama'. Did you mean gamma?",
        "defaults.yml",
    ),
    "a field that is not given": (
        {"disent": {"recipes": {"cmnist_mini": {"lambda_dis": 1}}}},
        "The recipe of disent lacks decay_every, gamma, lambda_swap_b, lambda_swap, swap_start",
        "disent.yml",
    ),
    "an empty block": ({"vanilla": None}, "vanilla must be a mapping, got None", "vanilla.yml"),
    "no recipes": (
        {"vanilla": {"recipes": None}},
        "vanilla.recipes must be a mapping, got None",
        "vanilla.yml",
    ),
    "an empty recipe": (
        {"vanilla": {"recipes": {"cmnist_mini": None}}},
        "vanilla.recipes.cmnist_mini must be a mapping, got None",
        "vanilla.yml",
    ),
    "a percent without fields": (
        {"vanilla": {"recipes": {"cmnist_mini": {"at": {"2pct": 3}}}}},
        "vanilla.recipes.cmnist_mini.at.2pct must be a mapping, got 3",
        "vanilla.yml",
    ),
    "an unknown source": (
        {"lff": {"published": [{"source": "lee2020", "cmnist": {"2pct": 0.5}}]}},
        "Unknown source of lff.published 'lee2020'. Did you mean lee2021?",
        "lff.yml",
    ),
    "a published percentage": (
        {"lff": {"published": [{"source": "lee2021", "cmnist": {"2pct": 50.2}}]}},
        "lff.published.0.cmnist.2pct=50.2: Input should be less than or equal to 1",
        "lff.yml",
    ),
    "a published mapping": (
        {"lff": {"published": {"cmnist": 1}}}, "lff.published={'cmnist': 1}", "lff.yml"
    ),
    "no defaults": (
        {"recipe_defaults": 3}, "recipe_defaults must be a mapping, got 3", "defaults.yml"
    ),
    "no sources": (
        {"published_sources": 3}, "published_sources must be a mapping, got 3", "sources.yml"
    ),
    "an unknown key of a source": (
        {"published_sources": {"lee2021": {"nam": "Lee"}}},
        "Unknown key of published_sources.lee2021 'nam'. Did you mean name?",
        "sources.yml",
    ),
    "a list": ({"vanilla": [3]}, "vanilla must be a mapping, got [3]", "vanilla.yml"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_BLOCKS)
def test_an_invalid_recipe_file_is_an_error_with_key_and_file(case):
    changes, message, file = WRONG_BLOCKS[case]
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        resolve_parameters({**base_parameters(), **changes})
    assert f"conf/base/parameters_recipes/{file}" in str(refused.value)
