"""The values that a search tries, and what is left of it after an interruption."""

import numpy as np
import pytest
from kedro.io import DatasetError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from debias_pipeline.errors import user_error_behind
from debias_pipeline.io import StudyDataset
from debias_pipeline.tuning import Search, stored_groups

RECIPE = {"method": "jtt", "lr": 0.01, "first_steps": 400, "up": 50}
RANGES = {
    "lr": {"low": 0.0001, "high": 0.1, "log": True},
    "first_steps": {"low": 10, "high": 1000},
    "up": {"choices": [20, 50, 100]},
}
TRIALS = 13  # TPE draws the first ten at random


@pytest.fixture
def store(tmp_path):
    """Opens the same file each time, like a new process; SQLite takes seconds to make one."""
    return lambda: JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))


def search(storage, sampler="tpe", name="jtt", seed=0):
    return Search(storage, name, RECIPE, RANGES, sampler, seed)


def score(values):
    return -abs(np.log10(values["lr"]) + 3) + values["up"] / 100


def continued(made, until):
    while len(made.trials()) < until:
        values = made.next_values()
        if len(made.trials()) == 4:
            made.add(values, 1.0, error="no")
        else:
            made.add(values, 1.0, [score(values)], [7])
    return made.trials()


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_is_opened_again_goes_on_as_if_it_had_not_ended(store, sampler):
    whole = continued(search(store(), sampler, "whole"), TRIALS)
    for until in (1, 11, 12):
        continued(search(store(), sampler, "parts"), until)
    # What was drawn for a trial that never ended is drawn again.
    assert search(store(), sampler, "parts").next_values() == whole[12].values
    assert continued(search(store(), sampler, "parts"), TRIALS) == whole
    other = continued(search(store(), sampler, "other", seed=1), 3)
    assert other[0].values == whole[0].values and other[1].values != whole[1].values


def test_values_begin_with_the_recipe_and_lie_in_their_ranges(store):
    trials = continued(search(store()), TRIALS)
    assert trials[0].values == {"lr": 0.01, "first_steps": 400, "up": 50}
    for values in (trial.values for trial in trials):
        assert 0.0001 <= values["lr"] <= 0.1 and values["up"] in (20, 50, 100)
        assert type(values["first_steps"]) is int and 10 <= values["first_steps"] <= 1000
        # Short enough to be typed.
        assert values["lr"] == float(f"{values['lr']:.3g}")


def test_failed_trials_count(store):
    trials = continued(search(store()), 6)
    assert [trial.number for trial in trials] == [1, 2, 3, 4, 5, 6]
    assert (trials[4].error, trials[4].score, trials[4].status) == ("no", None, "failed")
    assert (trials[5].error, trials[5].steps, trials[5].status) == (None, [7], "done")


def test_groups_are_estimated_once(store):
    aligned = np.random.default_rng(0).random((2, 21)) < 0.5
    estimates = iter([aligned])
    for _ in range(2):
        found = stored_groups(store(), "reference", lambda: next(estimates))
        assert found.dtype == bool and np.array_equal(found, aligned)


@pytest.mark.slow
def test_trials_in_the_file_of_a_search_are_read_back_bit_for_bit(tmp_path):
    dataset = StudyDataset(str(tmp_path / "new" / "study.db"))
    trials = continued(search(dataset.load()), 6)
    assert search(dataset.load()).trials() == trials
    (tmp_path / "new" / "study.db").write_text("no database, but a text of some length " * 99)
    assert "study.db cannot be opened (file is not a database); move it" in refusal(dataset)


def test_a_search_needs_a_local_file():
    said = refusal(StudyDataset("memory://x/study.db"))
    assert said.startswith("memory://x/study.db is not on this machine") and "tune.study" in said


def refusal(dataset):
    with pytest.raises(DatasetError) as refused:
        dataset.load()
    return str(user_error_behind(refused.value))
