"""Values by selection rule and seed: group accuracies and confusion matrices."""

from dataclasses import replace

import pandas as pd
from made_up_reports import method_report
from made_up_runs import CLASSES, Run, with_names

from debias_pipeline.reporting import confusions
from debias_pipeline.reporting.pages.by_seed import FIRST, group_values


def test_groups_have_the_mean_over_seeds_and_each_seed() -> None:
    table = pd.DataFrame(
        [("last", 0, 1, 2, 10, 0.5), ("last", 7, 1, 2, 10, 0.7), ("last", 0, 0, 0, 0, None)],
        columns=["checkpoint", "seed", "label", "bias", "images", "accuracy"],
    )
    values = group_values(table)
    assert set(values) == {FIRST, "last/0", "last/7"}
    accuracy, text, interval = values[FIRST][1, 2]
    assert (accuracy, text) == (0.6, "60.0 ± 14.1 %")
    assert interval.startswith("31–")
    assert values["last/7"][1, 2][:2] == [0.7, "70.0 %"]
    assert values["last/0"][0, 0] == [None, "–", ""]


def test_confusion_matrices_count_predictions_of_each_branch(disent: Run, vanilla: Run) -> None:
    debiased, bias = confusions(disent.predictions, disent.manifest, disent.data_card)
    test = disent.manifest[disent.manifest["split"] == "test"]
    assert sum(map(sum, debiased.counts["last/3"])) == len(test)
    assert sum(map(sum, debiased.counts[FIRST])) == 2 * len(test)
    # Seed 3 takes every fifth image for the next label.
    wrong = [row[(label + 1) % CLASSES] for label, row in enumerate(debiased.counts["last/3"])]
    assert sum(wrong) == len(range(0, len(test), 5))
    aligned = sum(row[label] for label, row in enumerate(bias.counts["last/3"]))
    assert aligned == int((test["label"] == test["bias"]).sum())
    (only,) = confusions(vanilla.predictions, vanilla.manifest, vanilla.data_card)
    assert only.name == "Predictions"
    label, predicted, count = only.mistakes[0]
    assert int(predicted) == (int(label) + 1) % CLASSES
    assert " of " in count


def test_many_labels_have_a_list_of_mistakes_instead_of_a_matrix(disent: Run) -> None:
    names = [f"label {value}" for value in range(30)]
    html = method_report(with_names(disent, names, names))
    assert 'class="confusion' not in html
    assert "predicted as label" in html


def test_predictions_of_other_rules_and_no_bias_branch_are_shown(vanilla: Run) -> None:
    only_last = vanilla.predictions.query("checkpoint == 'last'")
    (branch,) = confusions(only_last, vanilla.manifest, vanilla.data_card)
    assert set(branch.counts) == {FIRST, "last/3", "last/4"}
    assert "Which label is taken" in method_report(replace(vanilla, predictions=only_last))
