"""Metrics against numbers counted by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.evaluation import (
    Predictions,
    accuracies,
    conflict_detection_auroc,
    final_metrics,
    group_accuracy,
    group_accuracy_table,
    prediction_table,
    summarise,
)
from debias_pipeline.evaluation.metrics import adjusted_average_accuracy, evidence
from debias_pipeline.evaluation.summary import over_seeds
from debias_pipeline.images import Split
from debias_pipeline.selection_rules import harmonic_mean


def split(labels, bias):
    labels, bias = np.array(labels), np.array(bias)
    conflicting = np.where(bias < 0, -1, labels != bias).astype(np.int8)
    ids = np.arange(len(labels)) + 100
    return Split(ids, torch.arange(len(labels)), labels, bias, conflicting)


# Groups (label, bias): (0, 0) three images, (0, 1) one, (1, 0) one, (1, 1) three.
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
BIAS = [0, 0, 0, 1, 0, 1, 1, 1]
#            right right wrong wrong right right right right
PREDICTIONS = [0, 0, 1, 1, 1, 1, 1, 1]


def test_accuracies_by_hand():
    metrics = accuracies(Predictions(np.array([PREDICTIONS])), split(LABELS, BIAS))
    assert metrics["accuracy"] == [6 / 8]
    assert metrics["aligned_accuracy"] == [5 / 6]
    assert metrics["conflicting_accuracy"] == [1 / 2]
    assert metrics["group_balanced_accuracy"] == pytest.approx([(2 / 3 + 0 + 1 + 1) / 4])
    assert metrics["worst_group_accuracy"] == [0.0]
    assert metrics["worst_class_accuracy"] == [0.5]


def test_the_adjusted_average_weights_groups_by_their_training_images():
    predictions = Predictions(np.array([PREDICTIONS, LABELS]))
    # Six images of the group (0, 0), two of (0, 1), one of (1, 0), one of (1, 1).
    train = split([0] * 8 + [1] * 2, [0] * 6 + [1, 1, 0, 1])
    adjusted = adjusted_average_accuracy(predictions, split(LABELS, BIAS), train)
    assert adjusted == pytest.approx([(6 * 2 / 3 + 2 * 0 + 1 + 1) / 10, 1])
    found = evidence(predictions, split(LABELS, BIAS), train)["adjusted_average_accuracy"]
    assert found["images"] == 1
    assert found["low"] < adjusted.mean() < found["high"]


@pytest.mark.parametrize(
    ("labels", "bias"), [([0, 1], [0, -1]), ([0, 1, 0], [0, 1, 2])], ids=["unlabelled", "untested"]
)
def test_the_adjusted_average_is_unknown_if_a_training_image_is_in_no_tested_group(labels, bias):
    tested = split(LABELS, BIAS)
    predictions = Predictions(np.array([PREDICTIONS]))
    assert np.isnan(adjusted_average_accuracy(predictions, tested, split(labels, bias))).all()
    assert np.isnan(adjusted_average_accuracy(predictions, tested, None)).all()


def test_every_replica_is_evaluated_on_its_own():
    metrics = accuracies(Predictions(np.array([PREDICTIONS, LABELS])), split(LABELS, BIAS))
    assert metrics["accuracy"].tolist() == [6 / 8, 1.0]
    assert metrics["worst_group_accuracy"].tolist() == [0.0, 1.0]


def test_without_bias_labels_only_the_accuracy_is_known():
    metrics = accuracies(Predictions(np.array([PREDICTIONS])), split(LABELS, [-1] * 8))
    assert metrics["accuracy"] == [6 / 8]
    for name in set(metrics) - {"accuracy", "worst_class_accuracy"}:
        assert np.isnan(metrics[name]).all(), name


def test_groups_without_images_do_not_count():
    metrics = accuracies(Predictions(np.array([[0, 1]])), split([0, 1], [0, 1]))
    assert metrics["worst_group_accuracy"] == [1.0]
    assert np.isnan(metrics["conflicting_accuracy"]).all()


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40))
def test_accuracy_lies_between_aligned_and_conflicting(rows):
    labels, bias, predictions = np.array(rows).T
    evaluated = accuracies(Predictions(predictions[None]), split(labels, bias))
    metrics = {name: values[0] for name, values in evaluated.items()}
    parts = [metrics[f"{name}_accuracy"] for name in ("aligned", "conflicting")]
    known = [each for each in parts if not math.isnan(each)]
    assert min(known) - 1e-12 <= metrics["accuracy"] <= max(known) + 1e-12
    assert metrics["worst_group_accuracy"] <= metrics["group_balanced_accuracy"] + 1e-12


def test_group_table_counts_every_cell_and_leaves_empty_ones_null():
    table = group_accuracy_table(np.array(PREDICTIONS), split(LABELS, BIAS), labels=2, biases=3)
    cells = table.set_index(["label", "bias"])
    assert cells.loc[(0, 0)].tolist() == [3, 2, 2 / 3, 0]
    assert cells.loc[(1, 0)].tolist() == [1, 1, 1.0, 0]
    assert cells.loc[(0, 2), "images"] == 0
    assert math.isnan(cells.loc[(0, 2), "accuracy"])
    assert table["images"].sum() == 8


@pytest.mark.parametrize(
    ("aligned", "conflicting", "expected"), [(0.9, 0.3, 0.45), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)]
)
def test_harmonic_mean(aligned, conflicting, expected):
    assert harmonic_mean(aligned, conflicting) == pytest.approx(expected)


def test_harmonic_mean_of_the_unknown_is_unknown():
    assert math.isnan(harmonic_mean(0.5, float("nan")))


def test_auroc_by_hand():
    # Of the 2 × 2 pairs (conflicting, aligned), three are in the right order.
    weights = np.array([0.9, 0.4, 0.5, 0.1])
    assert conflict_detection_auroc(weights, np.array([1, 1, 0, 0], np.int8)) == 0.75
    assert math.isnan(conflict_detection_auroc(weights, np.array([-1] * 4, np.int8)))
    assert math.isnan(conflict_detection_auroc(weights, np.array([0] * 4, np.int8)))
    assert math.isnan(conflict_detection_auroc(weights * np.nan, np.array([1, 1, 0, 0], np.int8)))


def test_over_seeds_uses_the_sample_standard_deviation():
    figure = over_seeds([0.2, 0.4])
    assert figure["mean"] == pytest.approx(0.3)
    assert figure["std"] == pytest.approx(math.sqrt(0.02))
    assert over_seeds([0.5]) == {"mean": 0.5, "std": None, "per_seed": [0.5]}
    assert over_seeds([0.5, float("nan")]) == {"mean": None, "std": None, "per_seed": [0.5, None]}


def tables(bias, bias_branch=None):
    part = split(LABELS, bias)
    manifest = pd.DataFrame(
        {
            "image_id": part.image_ids,
            "split": "test",
            "label": part.labels,
            "bias": part.bias,
            "conflicting": pd.array(
                [None if each < 0 else bool(each) for each in part.conflicting], dtype="boolean"
            ),
        }
    )
    both = Predictions(np.array([PREDICTIONS, LABELS]), bias_branch)
    predictions = pd.concat(
        [
            prediction_table(both, part, checkpoint=choice, seeds=[3, 4], steps=[10, 20])
            for choice in ("last", "best_on_test")
        ]
    )
    weights = pd.DataFrame(
        {
            "image_id": [0, 1] * 2,
            "seed": [3, 3, 4, 4],
            "weight": [0.9, 0.1, 0.2, 0.8],
            "conflicting": pd.array([True, False] * 2, dtype="boolean"),
        }
    )
    card = {
        "dataset": "tiny", "percent": "5pct", "headline": "accuracy",
        "label_names": ["a", "b"], "bias_name": "kind", "bias_names": ["c", "d"],
    }  # fmt: skip
    return predictions, manifest, weights, card


def test_summary_holds_to_the_contract():
    predictions, manifest, weights, card = tables(BIAS)
    # Rows in any order: they are told apart by their ids.
    shuffled = predictions.sample(frac=1, random_state=0)
    metrics = summarise(shuffled, manifest, weights, card, "disent")
    last = metrics["checkpoints"]["last"]
    assert last["accuracy"]["per_seed"] == [0.75, 1.0]
    assert last["step"]["per_seed"] == [10, 20]
    assert last["step"]["mean"] == 15.0
    assert metrics["checkpoints"]["selected"] is None
    assert metrics["conflict_detection_auroc"]["per_seed"] == [1.0, 0.0]
    assert (metrics["dataset"], metrics["percent"], metrics["method"]) == ("tiny", "5pct", "disent")


def test_metrics_and_groups_are_there_for_each_bias_attribute():
    predictions, manifest, weights, card = tables(BIAS)
    other = split(LABELS, [1, 1, 0, 0, 1, 1, 1, -1])
    manifest["bias_kind"], manifest["conflicting_kind"] = manifest["bias"], manifest["conflicting"]
    manifest["bias_size"] = other.bias
    flags = [True, True, False, False, False, False, False, None]
    manifest["conflicting_size"] = pd.array(flags, dtype="boolean")
    card["attributes"] = {"kind": ["c", "d"], "size": ["small", "large"]}
    metrics = summarise(predictions, manifest, weights, card, "disent")
    last = metrics["checkpoints"]["last"]
    assert last["attributes"]["kind"]["conflicting_accuracy"] == last["conflicting_accuracy"]
    assert last["attributes"]["size"]["conflicting_accuracy"]["per_seed"] == [1.0, 1.0]
    assert last["attributes"]["size"]["aligned_accuracy"]["per_seed"] == [3 / 5, 1.0]
    assert final_metrics(metrics)["last.size.aligned_accuracy"]["value"] == 0.8
    groups = group_accuracy(predictions, manifest, card)
    assert groups["attribute"].drop_duplicates().tolist() == ["kind", "size"]
    of_size = groups.query("attribute == 'size' and checkpoint == 'last' and seed == 3")
    assert of_size["images"].tolist() == [2, 2, 0, 3]


def test_a_rule_that_rests_on_few_conflicting_images_is_unreliable():
    support = {"last": [29, 40], "best_on_test": [30, 40]}
    checkpoints = summarise(*tables(BIAS), "disent", support)["checkpoints"]
    assert checkpoints["last"]["support"]["per_seed"] == [29, 40]
    assert (checkpoints["last"]["reliable"], checkpoints["best_on_test"]["reliable"]) == (
        False,
        True,
    )
    unknown = summarise(*tables(BIAS), "disent")["checkpoints"]["last"]
    assert (unknown["support"], unknown["reliable"]) == (None, True)


def test_the_bias_branch_is_evaluated_beside_the_method_and_null_without_one():
    both = Predictions(np.array([LABELS] * 2), np.array([BIAS, LABELS]))
    evaluated = accuracies(both, split(LABELS, BIAS))
    assert evaluated["bias_branch_accuracy"].tolist() == [6 / 8, 1.0]
    assert evaluated["accuracy"].tolist() == [1.0, 1.0]
    predictions, manifest, weights, card = tables(BIAS, np.array([BIAS, LABELS]))
    metrics = summarise(predictions.sample(frac=1, random_state=0), manifest, weights, card, "lff")
    figure = metrics["checkpoints"]["last"]["bias_branch_accuracy"]
    assert figure["per_seed"] == [6 / 8, 1.0]
    assert final_metrics(metrics)["last.bias_branch_accuracy"]["value"] == 0.875
    without = summarise(*tables(BIAS), "vanilla")
    none = {"mean": None, "std": None, "per_seed": [None, None]}
    assert without["checkpoints"]["last"]["bias_branch_accuracy"] == none
    assert "last.bias_branch_accuracy" not in final_metrics(without)


def test_final_metrics_name_rule_and_metric_and_leave_nulls_out():
    predictions, manifest, weights, card = tables([-1] * 8)
    figures = final_metrics(summarise(predictions, manifest, weights, card, "disent"))
    assert figures["last.accuracy"]["value"] == 0.875
    assert "last.conflicting_accuracy" not in figures
    assert not any(name.startswith("selected") for name in figures)


def test_group_accuracy_has_a_row_per_choice_seed_and_cell():
    predictions, manifest, _, card = tables(BIAS)
    table = group_accuracy(predictions, manifest, card)
    assert len(table) == 2 * 2 * 4
    row = table.query("checkpoint == 'last' and seed == 3 and label == 0 and bias == 0")
    assert row[["images", "correct"]].values.tolist() == [[3, 2]]
