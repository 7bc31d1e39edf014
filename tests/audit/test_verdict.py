"""The verdict, from predictions that are written down."""

from math import comb

import pandas as pd
import pytest

from debias_pipeline.audit import decide


def predictions(*kinds, conflicting=-1):
    """Rows of images: a kind is (images, debiased branch right, bias branch right, learned)."""
    rows, image = [], 0
    for images, right, bias_right, learned in kinds:
        for _ in range(images):
            label = image % 2
            for replica in range(5):
                held_out = replica == 1
                ok = bias_right if held_out else learned
                rows.append(
                    {
                        "image_id": image, "split": "train", "label": label, "bias": -1,
                        "conflicting": conflicting, "replica": replica, "held_out": held_out,
                        "prediction": label if right else 1 - label,
                        "bias_prediction": label if ok else 1 - label,
                    }
                )  # fmt: skip
            image += 1
    return pd.DataFrame(rows)


ALIGNED, WRONG = (180, True, True, True), (10, False, True, True)


def test_images_that_only_the_debiased_branch_predicts_are_a_shortcut():
    verdict = decide(predictions(ALIGNED, WRONG, (8, True, False, False), (2, False, False, False)))
    assert verdict["finding"] == "shortcut"
    assert (verdict["against"]["right"], verdict["against"]["images"]) == (10, 200)
    assert verdict["debiased_on_against"]["right"] == 8
    others = verdict["debiased_on_others"]
    assert (others["right"], others["images"]) == (180, 190)
    # Wilson's interval of 10 of 200.
    assert verdict["against"]["low"] == pytest.approx(0.0274, abs=1e-4)
    assert verdict["against"]["high"] == pytest.approx(0.0896, abs=1e-4)
    # P(X >= 8), X of 10 with probability 180 / 190 / 4.
    probability = 180 / 190 / 4
    expected = sum(
        comb(10, right) * probability**right * (1 - probability) ** (10 - right)
        for right in (8, 9, 10)
    )
    assert verdict["p_value"] == pytest.approx(expected)


def test_a_few_hard_images_are_none():
    few = predictions(ALIGNED, (180, True, True, True), (6, False, False, False))
    assert decide(few)["finding"] == "no sign"


def test_many_images_that_no_branch_predicts_although_all_others_are_easy_are_unclear():
    verdict = decide(predictions(ALIGNED, (20, False, False, False)))
    assert verdict["finding"] == "unclear"
    assert "wrong labels" in verdict["sentence"] and "20 of 200" in verdict["sentence"]


def test_images_that_the_bias_branch_learns_when_trained_on_them_are_none():
    assert decide(predictions(ALIGNED, (20, True, False, True)))["finding"] == "no sign"


def test_a_few_images_are_no_evidence():
    assert decide(predictions(ALIGNED, (3, True, False, False)))["finding"] == "no sign"
    # P(X >= 4), X of 4 with probability 1 / 4, is 0.004.
    assert decide(predictions(ALIGNED, (4, True, False, False)))["finding"] == "unclear"
    # The debiased branch learned the opposite.
    opposite = predictions((220, False, True, True), (4, True, False, False))
    assert decide(opposite)["finding"] == "unclear"


def test_a_rare_label_that_is_never_predicted_cannot_tell():
    table = predictions((60, True, True, True), (1, False, False, False))
    table.loc[table["image_id"] == 60, "label"] = 2
    assert decide(table)["finding"] == "unclear"


@pytest.mark.parametrize(("images", "finding"), [(21, "unclear"), (22, "no sign")])
def test_too_few_images_cannot_tell(images, finding):
    # With five against it, 16 of 21 are not above chance at level 0.01, but 17 of 22 are.
    verdict = decide(predictions((images, True, True, True)))
    assert verdict["finding"] == finding
    assert any("too few" in line for line in verdict["evidence"]) == (finding == "unclear")


def test_a_label_that_the_bias_branch_has_not_learned_cannot_tell():
    table = predictions((100, True, True, True), (60, True, False, False))
    table.loc[table["image_id"] >= 100, ["label", "prediction"]] = 2
    assert decide(table)["finding"] == "unclear"


def test_too_few_steps_are_no_evidence_that_there_is_none():
    verdict = decide(predictions(ALIGNED, WRONG), enough_steps=False)
    assert verdict["finding"] == "unclear"
    assert any("budget" in line for line in verdict["evidence"])
    assert decide(predictions(ALIGNED, WRONG))["finding"] == "no sign"


def test_what_is_hard_to_learn_is_no_shortcut():
    table = predictions((120, True, True, True), (40, True, False, True), (10, True, False, False))
    assert decide(table)["finding"] == "no sign"


def test_a_debiased_branch_that_learned_nothing_cannot_tell():
    half_right = [(45, True, True, True), (45, False, True, True)]
    verdict = decide(predictions(*half_right, (5, True, False, False), (5, False, False, False)))
    assert verdict["finding"] == "unclear"


def test_a_debiased_branch_that_learned_the_opposite_is_a_shortcut_or_wrong_labels():
    verdict = decide(predictions((90, False, True, True), (10, True, False, False)))
    assert verdict["finding"] == "shortcut"
    assert "labels are wrong" in verdict["sentence"]
    # Fisher's exact test: all 10 right ones of 100 among 10.
    assert verdict["p_value"] == pytest.approx(1 / comb(100, 10))


def test_networks_that_learned_nothing_cannot_tell():
    verdict = decide(predictions((50, True, True, True), (50, True, False, False)))
    assert verdict["finding"] == "unclear"


def test_a_bias_branch_that_learned_nothing_does_not_tell_what_is_easy_to_learn():
    always_wrong = decide(predictions((200, True, False, False)))
    assert always_wrong["finding"] == "unclear"
    assert "easy" not in always_wrong["sentence"]
    # It always names the first of two labels, of which there are 120 and 80.
    one_label = predictions((120, True, True, True), (80, True, False, False))
    for column in ("label", "prediction"):
        one_label[column] = (one_label["image_id"] >= 120).astype(int)
    one_label["bias_prediction"] = 0
    verdict = decide(one_label)
    assert verdict["finding"] == "unclear"
    assert "easy" not in verdict["sentence"]


def test_bias_labels_alone_can_show_it():
    aligned = predictions((90, True, True, True), conflicting=0)
    against = predictions((10, False, False, False), conflicting=1)
    against["image_id"] += 1000
    verdict = decide(pd.concat([aligned, against]))
    assert verdict["finding"] == "shortcut"
    assert (verdict["bias_on_aligned"]["right"], verdict["bias_on_conflicting"]["right"]) == (90, 0)


def test_evidence_has_counts_and_intervals():
    evidence = " ".join(decide(predictions(ALIGNED, WRONG))["evidence"])
    assert "190 of 190" in evidence
    assert "interval" in evidence
