"""`search_recipes`: the test split is never read, and an interrupted search goes on."""

import numpy as np
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from debias_pipeline.errors import UserError
from debias_pipeline.io.snapshots import SnapshotStore
from debias_pipeline.pipelines.tune import nodes
from debias_pipeline.selection_rules import harmonic_mean
from debias_pipeline.tracked_training import run_training
from debias_pipeline.tuning import tuner
from training.tiny_runs import SHAPE, tiny_data, tiny_manifest, tiny_recipe

pytestmark = pytest.mark.slow

METHODS = ("vanilla", "lff")
CARD = {
    "dataset": "tiny",
    "percent": "2pct",
    "image_shape": [*SHAPE],
    "label_names": ["a", "b", "c"],
    "headline": "accuracy",
    "origin": "drawn",
    "seed": 0,
    "content_hash": "0",
    "raw_hash": None,
}
TYPED = {"dataset": "tiny", "percent": "2pct", "recipe": {"steps": 8, "swap_start": 5}}


def tuning(folder, images=None, manifest=None, *, resume=True, **tune):
    lr = {"low": 0.001, "high": 0.1, "log": True}
    searches = {
        method: {
            "recipe": tiny_recipe(method, steps=8, eval_every=2).model_dump(),
            "ranges": {"lr": lr},
        }
        for method in METHODS
    }
    tune = {"trials": 3, "sampler": "tpe", "selection": "selected", "seed": 0, **tune}
    tune |= {"methods": METHODS, "searches": searches, "reference": searches["lff"]["recipe"]}
    return nodes.search_recipes(
        tiny_data().images.numpy() if images is None else images,
        tiny_manifest(np.random.default_rng(0)) if manifest is None else manifest,
        CARD,
        SnapshotStore(str(folder / "snapshots"), {}),
        # SQLite takes seconds to make a file.
        JournalStorage(JournalFileBackend(str(folder / "study.log"))),
        tune,
        TYPED,
        seed=4,
        seeds=2,
        device="cpu",
        precision="fp32",
        threads=1,
        resume=resume,
    )


def results(found):
    """All that does not depend on the clock."""
    return {
        method: [
            {key: value for key, value in trial.items() if key != "seconds"}
            for trial in of_method["trials"]
        ]
        for method, of_method in found["methods"].items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tuning(tmp_path_factory.mktemp("whole"))


def test_every_method_has_the_same_number_of_trials_and_a_command(whole):
    for method, found in whole["methods"].items():
        assert [trial["trial"] for trial in found["trials"]] == [1, 2, 3]
        assert found["trials"][0]["values"] == {"lr": 0.01}
        best = max(found["trials"], key=lambda trial: trial["score"])
        assert found["best"] == best and found["failed"] == 0
        lr = f"recipe.lr={best['values']['lr']}"
        assert found["params"] == lr
        # swap_start is no field of these methods.
        assert found["command"] == (
            f"kedro run --pipeline={method} --params "
            f"dataset=tiny,percent=2pct,recipe.steps=8,{lr},seed=4,seeds=2"
        )
    valid = tiny_data().splits["valid"]
    assert whole["conflicting_images"] == (valid.conflicting == 1).sum()
    assert whole["bias_labels"] == "tuning"


def test_a_poisoned_test_split_changes_nothing(whole, tmp_path):
    manifest = tiny_manifest(np.random.default_rng(0))
    images = tiny_data().images.numpy().copy()
    test = (manifest["split"] == "test").to_numpy()
    images[test] = 255 - images[test]
    # Label 99 would stop a training that sees it.
    manifest.loc[test, ["label", "bias"]] = 99
    manifest.loc[test, "conflicting"] = True
    assert results(tuning(tmp_path, images, manifest)) == results(whole)


def test_an_interrupted_search_goes_on_with_the_same_results(whole, tmp_path, monkeypatch):
    class KilledError(BaseException):
        """Stands for a kill: no `except Exception` sees it."""

    started = []

    def killed(*arguments, **options):
        started.append(1)
        if len(started) == 5:
            raise KilledError
        return run_training(*arguments, **options)

    monkeypatch.setattr(tuner, "run_training", killed)
    with pytest.raises(KilledError):
        tuning(tmp_path)
    assert results(tuning(tmp_path)) == results(whole)
    # The interrupted training is started twice, the finished ones once.
    assert len(started) == 6 + 1
    tuning(tmp_path)
    assert len(started) == 7
    assert results(tuning(tmp_path, trials=2))["lff"] == results(whole)["lff"][:2]
    tuning(tmp_path, trials=1, resume=False)
    assert len(started) == 7 + 2


def test_the_score_is_that_of_the_selection_rule(whole, tmp_path, monkeypatch):
    histories = []

    def noted(*arguments, **options):
        trained = run_training(*arguments, **options)
        histories.append(trained.run.history)
        assert "test" not in trained.data.splits
        return trained

    monkeypatch.setattr(tuner, "run_training", noted)
    for rule in ("selected", "last"):
        histories.clear()
        trial = tuning(tmp_path, trials=1, selection=rule)["methods"]["lff"]["trials"][0]
        history = histories[1]
        assert not [name for name in history.columns if name.startswith("test")]
        for seed, score, step in zip((4, 5), trial["scores"], trial["steps"], strict=True):
            of_seed = history[history["seed"] == seed]
            means = [
                harmonic_mean(*pair)
                for pair in zip(
                    of_seed["valid_aligned_accuracy"],
                    of_seed["valid_conflicting_accuracy"],
                    strict=True,
                )
            ]
            assert score == pytest.approx(max(means) if rule == "selected" else means[-1])
            assert score == pytest.approx(dict(zip(of_seed["step"], means, strict=True))[step])
        assert trial["score"] == pytest.approx(np.mean(trial["scores"]))


def test_failed_trials_are_counted_and_named(tmp_path, monkeypatch):
    def fails_for_lff(images, manifest, card, snapshots, settings, **options):
        if settings.recipe["method"] == "lff" and settings.recipe["lr"] != 0.01:
            raise UserError("loss is not finite")
        return run_training(images, manifest, card, snapshots, settings, **options)

    monkeypatch.setattr(tuner, "run_training", fails_for_lff)
    found = tuning(tmp_path)["methods"]
    assert (found["vanilla"]["failed"], found["lff"]["failed"]) == (0, 2)
    assert found["lff"]["best"]["trial"] == 1
    assert found["lff"]["trials"][2]["error"] == "loss is not finite"


def test_pseudo_groups_are_the_same_for_all_trials_and_need_no_bias_labels(tmp_path):
    manifest = tiny_manifest(np.random.default_rng(0), with_bias=False)
    found = tuning(tmp_path, manifest=manifest, trials=2, selection="pseudo_groups")
    assert found["bias_labels"] == "none" and found["conflicting_images"] >= 1
    assert all(0 <= trial["score"] <= 1 for trial in found["methods"]["vanilla"]["trials"])
