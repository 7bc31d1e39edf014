"""The grid: its trials, what each uses, where each files its results, and what is refused."""

from pathlib import Path

import pytest

from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.errors import UserError
from debias_pipeline.grid import SETTING_ENTRIES, TRIAL_ENTRIES, trials_of
from debias_pipeline.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"


def loader(env="local", **runtime_params):
    arguments = {**CONFIG_LOADER_ARGS, "env": env, "runtime_params": runtime_params}
    return ProjectConfigLoader(str(CONF), **arguments)


def parameters(env="local", **grid):
    return loader(env, benchmark=grid)["parameters"]


def trials(env="local", **grid):
    return trials_of(parameters(env, **grid))


def only_trial(**grid):
    one = {"datasets": "cmnist", "percents": "1pct", "methods": "disent", **grid}
    (trial,) = trials(**one)
    return trial


def test_the_published_grid_is_an_environment_of_its_own():
    grid = trials("paper")
    assert [trial.name for trial in grid[:4]] == [
        "cmnist_0_5pct.vanilla", "cmnist_0_5pct.lff", "cmnist_0_5pct.disent", "cmnist_1pct.vanilla",
    ]  # fmt: skip
    assert len(grid) == 12
    assert {(trial.seeds, trial.precision) for trial in grid} == {((0, 1, 2), "bf16")}
    assert {trial.recipe["steps"] for trial in grid} == {50_000}
    assert grid[2].published_accuracy[0]["accuracy"] == 0.6522


def test_the_grid_of_the_base_environment_needs_no_download():
    assert {trial.dataset for trial in trials()} == {"cmnist_mini"}


def test_an_environment_says_only_what_differs_and_params_win():
    paper = parameters("paper", seeds=5)["benchmark"]
    assert (paper["seeds"], paper["precision"], paper["threads"]) == (5, "bf16", "auto")


def test_lists_are_joined_by_plus_as_kedro_splits_at_commas():
    names = [trial.name for trial in trials(percents="0.5pct + 5pct", methods="disent+vanilla")]
    assert names == [
        "cmnist_mini_0_5pct.disent", "cmnist_mini_0_5pct.vanilla",
        "cmnist_mini_5pct.disent", "cmnist_mini_5pct.vanilla",
    ]  # fmt: skip
    assert len(trials(percents=["2pct", "2pct"], methods="lff")) == 1


def test_every_trial_finds_its_parameters_under_its_namespace():
    found = parameters(datasets="cmnist", percents="0.5pct", methods="disent")
    setting = found["cmnist_0_5pct"]
    assert (setting["dataset"], setting["percent"]) == ("cmnist", "0.5pct")
    assert setting["disent"]["recipe"]["lambda_dis"] == 10
    assert setting["disent"]["published_accuracy"][0]["accuracy"] == 0.6522


def test_recipes_are_those_of_ordinary_runs():
    grid = parameters(datasets="cifar10c", percents="0.5pct+2pct", methods="disent")
    for percent in ("0.5pct", "2pct"):
        ordinary = loader(dataset="cifar10c", percent=percent)["parameters"]["disent"]["recipe"]
        assert grid[f"cifar10c_{percent.replace('.', '_')}"]["disent"]["recipe"] == ordinary


def test_overrides_are_for_all_methods_or_under_a_name_for_one():
    steps = {"steps": 7, "swap_start": 3, "vanilla": {"steps": 9}}
    recipes = {trial.method: trial.recipe for trial in trials(percents="2pct", overrides=steps)}
    assert [recipes[name]["steps"] for name in ("vanilla", "lff", "disent")] == [9, 7, 7]
    assert recipes["disent"]["swap_start"] == 3
    assert "swap_start" not in recipes["lff"]


def test_a_method_without_a_recipe_for_a_data_set_has_a_trial_without_one():
    config = loader(benchmark={"methods": "vanilla"})
    found = config["parameters"]
    del found["cmnist_mini_2pct"]["vanilla"]["recipe"]
    assert trials_of(found)[0].recipe is None


def test_without_a_grid_there_are_no_trials():
    assert trials_of({"dataset": "cmnist"}) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "cmnist"}, "Unknown key of benchmark 'dataset'. Did you mean datasets[?]"),
        ({"datasets": "cminst"}, "Unknown dataset 'cminst'. Did you mean cmnist"),
        ({"methods": "disnet+lff"}, "Unknown method 'disnet'. Did you mean disent[?]"),
        ({"percents": "2"}, "write 2pct"),
        ({"percents": [2]}, "write 2pct"),
        ({"percents": []}, "benchmark.percents=.*at least 1"),
        ({"methods": 3}, "benchmark.methods.0=3: .*string"),
        ({"seeds": 0}, "benchmark.seeds=0: .*greater than or equal to 1"),
        ({"seeds": True}, "benchmark.seeds=True: "),
        ({"threads": 0}, "benchmark.threads=0: "),
        ({"precision": "fp16"}, "benchmark.precision='fp16': .*'bf16'"),
        ({"overrides": {"stps": 3}}, "Unknown recipe field 'stps'. Did you mean steps[?]"),
        ({"overrides": {"steps": 0}}, "benchmark.overrides.steps=0: .*greater than 0"),
        ({"overrides": {"lff": {"swap_start": 3}}}, "Unknown recipe field 'swap_start'"),
        ({"overrides": {"lff": 3}}, "benchmark.overrides.lff=3 .*; use e.g. .*lff.steps=2000"),
        ({"data_options": {"cifar10c": {}}}, "benchmark.data_options.cifar10c .*has cmnist"),
        ({"data_options": {"cmnist_mini": {"severity": 3}}}, "Unknown option of cmnist_mini"),
        (
            {"datasets": "cifar10c", "data_options": {"cifar10c": {"severity": 9}}},
            "benchmark.data_options.cifar10c.severity=9: ",
        ),
    ],
)
def test_a_wrong_grid_is_refused_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as refused:
        parameters(**given)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"overrides": {"steps": 10}},
        {"overrides": {"disent": {"lambda_dis": 9}}},
        {"seeds": 2},
        {"seed": 1},
        {"precision": "bf16"},
        {"percents": "2pct"},
        {"methods": "lff"},
    ],
)
def test_other_settings_make_another_digest(change):
    assert only_trial(**change).digest != only_trial().digest


@pytest.mark.slow
def test_data_of_other_options_or_another_seed_makes_another_digest():
    cifar = {"datasets": "cifar10c", "percents": "1pct", "methods": "vanilla"}
    weaker = only_trial(**cifar, data_options={"cifar10c": {"severity": 1}})
    assert weaker.digest != only_trial(**cifar).digest
    grid = {"datasets": "cmnist", "percents": "1pct", "methods": "disent"}
    (other,) = trials_of(loader(data_seed=3, benchmark=grid)["parameters"])
    assert other.digest != only_trial().digest
    assert other.data_folder == "cmnist/1pct_data3"


@pytest.mark.parametrize("change", [{"threads": 2}, {"mlflow_ui": "http://other:1"}])
def test_what_changes_no_result_makes_no_other_digest(change):
    assert only_trial(**change).digest == only_trial().digest


@pytest.mark.parametrize(
    ("uri", "linked"),
    [("", ""), ("sqlite:///runs.db", ""), ("https://me:secret@host:1/x", "https://host:1/x")],
)
def test_the_leaderboard_links_to_a_server_without_its_password(uri, linked, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri) if uri else None
    assert parameters()["benchmark"]["mlflow_ui"] == linked
    chosen = parameters(mlflow_ui="http://other:1")
    assert chosen["benchmark"]["mlflow_ui"] == "http://other:1"


def test_a_digest_goes_by_the_trial_alone():
    grid = trials("paper")
    alone = trials("paper", percents="1pct", methods="lff")
    assert alone[0].digest in {trial.digest for trial in grid if trial.name == "cmnist_1pct.lff"}
    assert len({trial.digest for trial in grid}) == len(grid)


def test_percents_do_not_multiply_a_data_set_that_has_none():
    grid = {"datasets": "folder+cmnist_mini", "percents": "0.5pct+2pct", "methods": "vanilla"}
    names = [trial.name for trial in trials(**grid)]
    assert names == ["folder.vanilla", "cmnist_mini_0_5pct.vanilla", "cmnist_mini_2pct.vanilla"]
    catalog = loader(benchmark=grid)["catalog"]
    assert {"folder.images", "folder.vanilla.checkpoint"} <= {*catalog}


def test_two_settings_with_one_folder_are_refused(monkeypatch):
    monkeypatch.setattr(
        "debias_pipeline.biased_data.sets.cmnist.ColoredMnist.folder", lambda *_: "cmnist/all"
    )
    with pytest.raises(UserError, match=r"cmnist_1pct and cmnist_2pct.*cmnist/all"):
        parameters(datasets="cmnist", percents="1pct+2pct")


def test_the_catalog_has_entries_of_every_trial():
    catalog = loader("paper")["catalog"]
    for trial in trials("paper"):
        assert all(f"{trial.setting}.{name}" in catalog for name in SETTING_ENTRIES)
        assert all(f"{trial.name}.{name}" in catalog for name in TRIAL_ENTRIES)


def test_choices_of_the_label_share_images_and_each_has_its_data_card():
    options = {"target": "Smiling"}
    grid = {"datasets": "celeba", "methods": "vanilla", "data_options": {"celeba": options}}
    catalog = loader(dataset="celeba", benchmark=grid, **options)["catalog"]
    for name in ("images", "celeba.images"):
        entry = catalog[name]
        assert entry["filepath"] == "data/03_primary/celeba/all/images.npy"
        card = "data/03_primary/celeba/all_targetSmiling/data_card.json"
        assert entry["data_card"]["filepath"] == card


def test_data_is_shared_with_ordinary_runs_and_results_are_not():
    grid = {"datasets": "cmnist", "percents": "0.5pct", "methods": "disent"}
    (trial,) = trials(**grid)
    catalog = loader(dataset="cmnist", percent="0.5pct", benchmark=grid)["catalog"]
    images = catalog["cmnist_0_5pct.images"]["filepath"]
    assert images == catalog["images"]["filepath"] == "data/03_primary/cmnist/0.5pct/images.npy"
    checkpoint = catalog["cmnist_0_5pct.disent.checkpoint"]
    assert checkpoint["versioned"] is True
    assert checkpoint["filepath"] == (
        f"data/06_models/cmnist/0.5pct/benchmark-{trial.digest}/disent/checkpoint.safetensors"
    )
    ordinary = catalog["{method}.checkpoint"]["filepath"]
    assert ordinary == "data/06_models/cmnist/0.5pct/{method}/checkpoint.safetensors"


def test_artifacts_of_two_settings_do_not_overwrite_each_other():
    catalog = loader()["catalog"]
    places = [
        catalog[f"cmnist_mini_{percent}.data_card"]["metadata"]["mlflow_artifact"]
        for percent in ("2pct", "5pct")
    ]
    assert places == ["cmnist_mini_2pct/data", "cmnist_mini_5pct/data"]
    assert catalog["data_card"]["metadata"]["mlflow_artifact"] == "data"
