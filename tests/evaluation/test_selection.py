"""Selection rules against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from debias_pipeline.evaluation import Predictions
from debias_pipeline.evaluation.selection import Selections
from debias_pipeline.images import Split
from debias_pipeline.selection_rules import SELECTION_RULES, chance_of_group_score, group_score

NAN = float("nan")


def valid_split(labels, conflicting=None):
    labels = np.array(labels)
    flags = np.full(len(labels), -1) if conflicting is None else np.array(conflicting)
    rows = torch.arange(len(labels))
    return Split(rows.numpy(), rows, labels, np.full(len(labels), -1), flags.astype(np.int8))


def row(aligned=NAN, conflicting=NAN, test=0.5):
    return {
        "valid_aligned_accuracy": aligned,
        "valid_conflicting_accuracy": conflicting,
        "test_accuracy": test,
    }


def predictions(correct, bias_correct=None):
    """Predictions of labels that are all 1, from which images are right: [n] or [R, n]."""
    return Predictions(
        np.atleast_2d(correct).astype(int),
        None if bias_correct is None else np.atleast_2d(bias_correct).astype(int),
    )


def select(selections, rows, *, correct=None):
    """Return the steps of replica 0 that each rule selects for now, for steps 1, 2, …"""
    steps = {rule: [] for rule in SELECTION_RULES}
    for step, of_step in enumerate(rows, 1):
        observed = selections.observe(step, [of_step], predictions(correct or [1, 1, 0, 0]))
        for rule, replicas in observed.items():
            steps[rule] += [step] if 0 in replicas else []
    return steps


def test_only_best_on_test_leaks_and_only_selected_needs_bias_labels():
    assert list(SELECTION_RULES) == ["last", "selected", "pseudo_groups", "best_on_test"]
    assert [rule.key for rule in SELECTION_RULES.values() if rule.leaks] == ["best_on_test"]
    with_labels = [rule.key for rule in SELECTION_RULES.values() if "bias labels" in rule.needs]
    assert with_labels == ["selected"]


# Aligned: 3 of 4 are right. Conflicting: 1 of 2 is.
CORRECT = np.array([1, 1, 1, 0, 1, 0], bool)
ALIGNED = np.array([1, 1, 1, 1, 0, 0], bool)


def test_the_group_score_is_the_harmonic_mean_over_the_groups():
    assert group_score(CORRECT, ALIGNED) == pytest.approx(0.6)


def test_the_group_score_is_zero_if_nothing_is_right_and_unknown_without_a_group():
    two = np.array([True, False])
    assert group_score(np.zeros(2, bool), two) == 0
    assert math.isnan(group_score(two, np.ones(2, bool)))
    assert math.isnan(group_score(two, np.zeros(2, bool)))


def test_chance_is_two_standard_errors_of_the_paired_difference():
    # One aligned image more and the conflicting one less: accuracies 1 and 0.
    later = np.array([1, 1, 1, 1, 0, 0], bool)
    # Slopes, means of both networks: 2 (0.5/1.25)² and 0; 2 (0.75/1.25)² and 2 (1/1)².
    # Variances of the differences (0, 0, 0, 1) and (−1, 0).
    variance = 0.16**2 * (3 / 16) / 4 + 1.36**2 * (1 / 4) / 2
    chance = chance_of_group_score(CORRECT, later, ALIGNED)
    assert chance == pytest.approx(2 * math.sqrt(variance))
    assert chance_of_group_score(CORRECT, CORRECT, ALIGNED) == 0


def test_selected_takes_the_first_of_the_highest_harmonic_means_and_never_nan():
    rows = [row(NAN, 0.9), row(0.8, 0.4), row(0.4, 0.8), row(0.9, 0.5), row(0.5, NAN)]
    assert select(Selections(1, valid_split([1] * 4), "accuracy"), rows)["selected"] == [2, 4]


def test_best_on_test_goes_by_the_headline_of_the_test_split_alone():
    rows = [
        {**row(0.9, 0.9), "test_conflicting_accuracy": value, "test_accuracy": 1 - value}
        for value in (0.2, 0.4, 0.4, 0.3)
    ]
    selections = Selections(1, valid_split([1] * 4), "conflicting_accuracy")
    assert select(selections, rows)["best_on_test"] == [1, 2]


def test_every_replica_selects_for_itself():
    selections = Selections(2, valid_split([1] * 4), "accuracy")
    both = predictions([[1, 1, 0, 0], [1, 1, 0, 0]])
    selections.observe(1, [row(test=0.5), row(test=0.5)], both)
    later = selections.observe(2, [row(test=0.4), row(test=0.6)], both)
    assert later["best_on_test"] == [1]


# The bias branch gets the first 60 of 100 images right.
BIAS = np.arange(100) < 60


def right(aligned, conflicting):
    """Which of 60 aligned and 40 conflicting images are right."""
    return (np.arange(100) < aligned) | (
        (np.arange(100) >= 60) & (np.arange(100) < 60 + conflicting)
    )


def observe_pseudo(correct, bias=None):
    """Return the steps that `pseudo_groups` selects for now, and the rules' state."""
    selections = Selections(1, valid_split([1] * len(correct[0])), "accuracy")
    bias = bias or [None] * len(correct)
    found = [
        selections.observe(step, [row()], predictions(of_step, of_bias))["pseudo_groups"]
        for step, (of_step, of_bias) in enumerate(zip(correct, bias, strict=True), 1)
    ]
    return [step for step, replicas in enumerate(found, 1) if replicas], selections


def test_pseudo_groups_prefers_a_network_that_goes_against_the_bias():
    correct = [right(60, 2), right(40, 30), right(60, 4)]
    assert observe_pseudo(correct, [BIAS] * 3)[0] == [1, 2]


def test_pseudo_groups_takes_the_latest_step_that_is_not_worse_beyond_chance():
    # Harmonic means 0.75, 0.726 and 0.48; two conflicting images less are chance, 16 are not.
    correct = [right(45, 30), right(45, 28), right(45, 14)]
    assert observe_pseudo(correct, [BIAS] * 3)[0] == [1, 2]


def test_pseudo_groups_scores_the_best_step_again_when_the_groups_change():
    # At first the bias branch knows nothing and every image is pseudo-conflicting but ten.
    ignorant = np.arange(100) < 10
    follows_bias, debiased = right(60, 1), right(45, 30)
    correct = [follows_bias, follows_bias, follows_bias, debiased]
    steps, selections = observe_pseudo(correct, [ignorant, BIAS, BIAS, BIAS])
    assert steps[-1] == 4
    assert selections.support()["pseudo_groups"] == [40]


def test_a_bias_branch_that_is_always_right_leaves_nothing_to_select_by():
    ignorant, perfect = np.arange(100) < 10, np.ones(100, bool)
    steps, selections = observe_pseudo([right(60, 2)] * 3, [ignorant, perfect, perfect])
    assert steps == [1]
    assert selections.support()["pseudo_groups"] == [0]
    assert selections.available() == ["last", "best_on_test"]


def test_without_a_bias_branch_an_early_network_of_the_method_makes_the_groups():
    # The second network surpasses the first by far and becomes the reference; the third does not.
    correct = [right(20, 0), right(60, 0), right(60, 4)]
    _, selections = observe_pseudo(correct)
    assert selections.support()["pseudo_groups"] == [40]


def test_the_support_of_selected_is_the_number_of_conflicting_validation_images():
    selections = Selections(2, valid_split([1] * 4, conflicting=[0, 1, 1, -1]), "accuracy")
    assert selections.support()["selected"] == [2, 2]
    assert Selections(1, valid_split([1] * 4), "accuracy").support()["selected"] == [0]


def test_rules_that_go_on_from_a_saved_state_select_the_same_steps():
    random = np.random.default_rng(0)
    observed = [
        ([row(*random.random(3)), row(*random.random(3))],
         predictions(random.random((2, 50)) < 0.6, random.random((2, 50)) < 0.7))
        for _ in range(12)
    ]  # fmt: skip
    valid = valid_split([1] * 50, conflicting=[1] * 50)
    whole = Selections(2, valid, "accuracy")
    expected = [whole.observe(step, *each) for step, each in enumerate(observed)]
    for stop in (1, 6):
        first, second = Selections(2, valid, "accuracy"), Selections(2, valid, "accuracy")
        for step, each in enumerate(observed[:stop]):
            first.observe(step, *each)
        second.load_state_dict(*first.state_dict())
        rest = [
            second.observe(step, *each) for step, each in enumerate(observed[stop:], start=stop)
        ]
        assert rest == expected[stop:]
        assert second.support() == whole.support()
