"""Images to label by hand, and the group accuracies that are estimated from them."""

import numpy as np
import pandas as pd
import pytest

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation import estimate_groups, images_to_label

CARD = {"label_names": ["cow", "camel"], "bias_names": []}
NAMED = {"label_names": ["cow", "camel"], "bias_names": ["sand", "meadow"]}
NO_MANIFEST = pd.DataFrame(
    {"label": [0, 1], "bias": [-1, -1], "conflicting": pd.array([None] * 2, dtype="boolean")}
)


def make_suspects(images=400, conflicting=0.1, labels=("cow", "camel"), seed=0):
    """Images of three splits, most conflicting ones contradicted; column `kind` is the truth."""
    random = np.random.default_rng(seed)
    label = random.choice(list(labels), images)
    is_conflicting = random.random(images) < conflicting
    contradicted = random.random(images) < np.where(is_conflicting, 0.8, 0.1)
    # On conflicting images that the bias branch gets right, the debiased branch is right, too.
    right = random.random(images) < np.where(is_conflicting & contradicted, 0.4, 0.95)
    other = {each: labels[position - 1] for position, each in enumerate(labels)}
    table = pd.DataFrame(
        {
            "file": [f"{number:04d}.png" for number in range(images)],
            "split": random.choice(["train", "valid", "test"], images, p=[0.5, 0.1, 0.4]),
            "label": label,
            "prediction": [a if b else other[a] for a, b in zip(label, right, strict=True)],
            "bias_prediction": [
                other[a] if b else a for a, b in zip(label, contradicted, strict=True)
            ],
            "kind": np.where(is_conflicting, "conflicting", "aligned"),
        }
    )
    table = table.iloc[np.argsort(~contradicted, kind="stable")]
    return table.assign(rank=np.arange(1, images + 1))


def estimate(suspects, labels, card=CARD, manifest=NO_MANIFEST):
    chosen = images_to_label(suspects)
    return estimate_groups(suspects, chosen, labels, manifest, card, "bias_labels=x.csv")


def true_labels(suspects):
    kinds = suspects.set_index("file")["kind"]
    files = images_to_label(suspects)["file"]
    return pd.DataFrame({"file": files, "bias": kinds.loc[files].to_numpy()})


def test_half_of_the_images_to_label_are_contradicted_by_the_bias_branch():
    suspects = make_suspects()
    chosen = images_to_label(suspects)
    assert list(chosen) == ["file", "split", "label", "bias"]
    assert len(chosen) == 20 and chosen["file"].is_unique and chosen["file"].is_monotonic_increasing
    assert set(chosen["split"]) == {"valid", "test"} and set(chosen["bias"]) == {""}
    rows = suspects.set_index("file").loc[chosen["file"]]
    assert (rows["label"] != rows["bias_prediction"]).sum() == 10
    assert chosen["label"].value_counts().between(8, 12).all()
    assert images_to_label(suspects).equals(chosen)


@pytest.mark.parametrize(("contradicted", "others", "drawn"), [(3, 90, 3), (90, 4, 16), (2, 5, 2)])
def test_too_few_images_of_a_kind_are_made_up_for(contradicted, others, drawn):
    suspects = pd.DataFrame(
        {
            "file": [f"{n:03d}" for n in range(contradicted + others)],
            "split": "test",
            "label": "cow",
            "bias_prediction": ["camel"] * contradicted + ["cow"] * others,
        }
    )
    files = images_to_label(suspects)["file"].astype(int)
    assert len(files) == min(20, contradicted + others)
    assert (files < contradicted).sum() == drawn


@pytest.mark.slow
def test_estimates_are_not_biased_by_the_choice_of_images():
    suspects = make_suspects(1000, conflicting=0.3)
    unseen = suspects[suspects["split"] != "train"]
    random = np.random.default_rng(1)
    found = {"aligned": [], "conflicting": []}
    unweighted = []
    for _ in range(100):
        shuffled = suspects.iloc[random.permutation(len(suspects))]
        labels = true_labels(shuffled)
        estimates = estimate(shuffled, labels)
        for kind, values in found.items():
            values.append(estimates[f"{kind}_accuracy"]["value"])
        rows = shuffled.set_index("file").loc[labels["file"]].query("kind == 'conflicting'")
        unweighted.append((rows["prediction"] == rows["label"]).mean())
    for kind, values in found.items():
        rows = unseen[unseen["kind"] == kind]
        assert np.mean(values) == pytest.approx(
            (rows["prediction"] == rows["label"]).mean(), abs=0.04
        )
    rows = unseen[unseen["kind"] == "conflicting"]
    assert np.mean(unweighted) < (rows["prediction"] == rows["label"]).mean() - 0.04


def nine_images():
    """Two of eight unseen images are contradicted."""
    return pd.DataFrame(
        {
            "rank": range(1, 10),
            "file": list("abcdefghi"),
            "split": ["test"] * 8 + ["train"],
            "label": ["cow", "camel", "cow", "cow", "camel", "camel", "cow", "cow", "cow"],
            "prediction": ["cow", "cow", "cow", "camel", "camel", "camel", "cow", "cow", "cow"],
            "bias_prediction": [
                "camel",
                "cow",
                "cow",
                "cow",
                "camel",
                "camel",
                "cow",
                "cow",
                "cow",
            ],
        }
    )


def test_images_of_to_label_are_counted_whatever_protects_their_names():
    rows = nine_images().replace({"a": "=a", "b": "-1/b"})
    to_label = images_to_label(rows)
    labels = pd.DataFrame({"file": to_label["file"], "bias": "conflicting"})
    labels["file"] = labels["file"].replace({"=a": "'=a", "-1/b": "'-1/b"})
    found = estimate(rows, labels)
    assert found["drawn"] == found["labelled"] == len(labels)


def labelled(**values):
    return pd.DataFrame({"file": list(values), "bias": list(values.values())})


def test_a_labelled_image_represents_those_of_its_kind_that_are_not_labelled():
    # a represents a and b; c, d and e represent six images, two each.
    labels = labelled(a="conflicting", c="aligned", d="aligned", e="Conflicting")
    found = estimate(nine_images(), labels)
    assert (found["labelled"], found["drawn"], found["represented"]) == (4, 4, 8)
    assert found["conflicting_accuracy"]["value"] == 1
    assert found["aligned_accuracy"]["value"] == pytest.approx(0.5)
    assert (found["aligned_accuracy"]["right"], found["aligned_accuracy"]["images"]) == (1, 2)
    assert found["worst_group"] == "cow, aligned"
    # c and d are ranked behind a, but before e.
    assert found["auroc"]["value"] == pytest.approx(0.5)
    assert 0 <= found["auroc"]["low"] < 0.5 < found["auroc"]["high"] <= 1


def test_without_labels_nothing_is_estimated():
    found = estimate(nine_images(), labelled())
    assert found["labelled"] == 0 and found["aligned_accuracy"] is None and found["auroc"] is None


def test_images_of_one_kind_only_give_no_estimate_of_the_other():
    found = estimate(nine_images(), labelled(c="aligned", d="aligned"))
    assert found["conflicting_accuracy"] is None and found["auroc"] is None
    assert found["aligned_accuracy"]["images"] == 2


def test_the_most_frequent_value_of_a_label_is_aligned():
    # a represents two images, the others two each: meadow is the most frequent of cows.
    values = {"a": "sand", "c": "meadow", "d": "meadow", "e": "sand"}
    found = estimate(nine_images(), labelled(**values))
    assert found["conflicting_accuracy"]["images"] == 1
    assert found["aligned_accuracy"]["images"] == 3


def test_the_bias_labels_of_the_data_tell_what_is_aligned():
    manifest = pd.DataFrame(
        {"label": [0, 1], "bias": [0, 1], "conflicting": pd.array([False] * 2, dtype="boolean")}
    )
    found = estimate(nine_images(), labelled(c="meadow", d="meadow", e="meadow"), NAMED, manifest)
    assert found["conflicting_accuracy"]["images"] == 2
    assert found["worst_group"] == "cow, meadow"


def test_labels_that_were_not_drawn_are_counted():
    suspects = make_suspects()
    others = suspects[suspects["split"] == "test"]
    others = others[~others["file"].isin(images_to_label(suspects)["file"])].head(3)
    labels = pd.concat(
        [true_labels(suspects), labelled(**dict.fromkeys(others["file"], "aligned"))]
    )
    found = estimate(suspects, labels)
    assert (found["labelled"], found["drawn"]) == (23, 20)


def test_names_that_a_spreadsheet_would_run_are_found():
    table = nine_images().replace({"file": {"c": "=c"}})
    found = estimate(table, pd.DataFrame({"file": ["'=c"], "bias": ["aligned"]}))
    assert found["labelled"] == 1


@pytest.mark.parametrize(
    ("values", "card", "said"),
    [
        ({"z": "aligned"}, CARD, ("z", "to_label.csv")),
        ({"i": "aligned"}, CARD, ("i", "training")),
        ({"a": "aligned", "b": "sand"}, CARD, ("aligned", "conflicting")),
        ({"a": "sand", "b": "sea"}, NAMED, ("'sea'", "b", "sand, meadow")),
        ({"a": "sand", "b": "aligned"}, NAMED, ("'aligned'", "sand, meadow")),
    ],
)
def test_labels_that_cannot_be_used_are_refused(values, card, said):
    with pytest.raises(UserError) as error:
        estimate(nine_images(), labelled(**values), card)
    message = str(error.value)
    assert message.startswith("bias_labels=x.csv")
    assert all(each in message for each in said)


def test_an_image_that_is_labelled_twice_is_refused():
    labels = pd.concat([labelled(a="aligned"), labelled(a="conflicting")])
    with pytest.raises(UserError, match="twice"):
        estimate(nine_images(), labels)
