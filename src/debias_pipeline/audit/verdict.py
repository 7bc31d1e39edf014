"""Decide from predictions of held-out images whether the data has a shortcut.

A shortcut is an attribute that is easier to learn than the label and nearly always occurs with it.
The bias branch learns it, and contradicts the few images that go against it even if it is trained
on them. The debiased branch predicts such images about as well as others. Images that are merely
hard, or mislabelled, are contradicted by both branches. So the evidence is how often the debiased
branch is right on held-out images that the bias branch persistently gets wrong.

With few such images the debiased branch first learns the opposite of the shortcut from them, as
they have nearly all the weight: it predicts them, and is wrong on most others. This is also
evidence, but wrong labels that follow a rule would look the same.
"""

from collections.abc import Sequence
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict

import numpy as np
import pandas as pd
import scipy  # imports scipy.stats when it is used first

from debias_pipeline.intervals import wilson
from debias_pipeline.records import FirstSuspects

Finding: TypeAlias = Literal["shortcut", "no sign", "unclear"]

# Level of the tests.
ALPHA: Final = 0.01
# Between ALPHA and this level the finding is `unclear`.
WEAK_ALPHA: Final = 0.1
# With fewer images against the bias branch there is no finding of a shortcut.
FEWEST_IMAGES: Final = 5
# The bias branch persistently contradicts an image if at most this share of the replicas that are
# trained on it predict its label.
_LEARNED_BY: Final = 0.3
# On hard or mislabelled images the debiased branch is right less often than on others by far: at
# most this share of its accuracy there was measured.
_SHARE_OF_ACCURACY: Final = 1 / 4
# A shortcut is easy to learn: the bias branch predicts this share of the other images.
_EASY: Final = 0.85
# If nearly all other images are easy, so many images against the bias branch need an explanation.
_NEARLY_ALL: Final = 0.95
_MANY: Final = 0.02
# A bias branch that contradicts this share of the images of a label has not learned the label.
_IGNORED: Final = 0.5
# Difference of the bias branch's accuracies on aligned and conflicting images that matters.
_LARGE_DIFFERENCE: Final = 0.2


class Count(TypedDict):
    """A proportion: `right` of `images`, and its 95 % Wilson interval (null without images)."""

    right: int
    images: int
    low: float | None
    high: float | None


class Verdict(TypedDict):
    """The catalog's `audit.verdict`.

    All counts are of training images, each predicted by networks that were not trained on it.

    Attributes:
        finding: shortcut, no sign, or unclear.
        sentence: the verdict in one sentence.
        evidence: one sentence each.
        chance: share of the most frequent label.
        bias_branch, debiased_branch: predictions that equal the label.
        inverted: whether the debiased branch learned the opposite of the bias branch: it is not
            better than chance where the bias branch is right, and is right more often where the
            bias branch is wrong (Fisher's exact test).
        against: images that the bias branch persistently gets wrong, of all; if `inverted`, those
            it gets wrong.
        debiased_on_against, debiased_on_others: predictions of the debiased branch that equal the
            label, on these images and on the others.
        p_value: probability of at least so many right predictions on `against` if the debiased
            branch were right there a quarter as often as on the others; if `inverted`, as often as
            on the others (Fisher's exact test).
        bias_on_others: the same of the bias branch, on the others.
        largest_share_of_label: share of the images of a label that are `against`, the largest.
        disagreements: images for which the branches predict different labels, of all.
        bias_on_aligned, bias_on_conflicting: predictions of the bias branch that equal the label,
            on images whose bias label is known to be aligned or conflicting; absent without them.
        labelled_p_value: of Fisher's exact test that the two are equal.
        first_suspects: how many of the first suspects of all splits are conflicting; absent without
            bias labels.
    """

    finding: Finding
    sentence: str
    evidence: list[str]
    chance: float
    bias_branch: Count
    debiased_branch: Count
    inverted: bool
    against: Count
    debiased_on_against: Count
    debiased_on_others: Count
    bias_on_others: Count
    largest_share_of_label: float
    p_value: float
    disagreements: Count
    bias_on_aligned: NotRequired[Count]
    bias_on_conflicting: NotRequired[Count]
    labelled_p_value: NotRequired[float]
    first_suspects: NotRequired[FirstSuspects]


def decide(predictions: pd.DataFrame, *, enough_steps: bool = True) -> Verdict:
    """Return the verdict.

    Args:
        predictions: see `cross_fitting.predict_all`. Only training images are used, each of which
            exactly one replica leaves out.
        enough_steps: whether the networks were trained for as many steps as are useful; else the
            finding is not "no sign".
    """
    images = _per_image(predictions)
    right, bias_right = images["debiased_right"], images["bias_right"]
    # Networks may know by heart the few images from which the debiased branch learned the opposite.
    inverted = _is_inverted(right, bias_right, images["label"])
    against = ~bias_right if inverted else images["against"]
    on_against, on_others = count(right[against]), count(right[~against])
    chance = _chance(images["label"])
    p_value = _p_value(on_against, on_others, inverted=inverted)
    bias_branch = count(bias_right)
    verdict: Verdict = {
        "finding": "unclear",
        "sentence": "",
        "evidence": [],
        "chance": chance,
        "bias_branch": bias_branch,
        "debiased_branch": count(right),
        "inverted": inverted,
        "against": count(against),
        "debiased_on_against": on_against,
        "debiased_on_others": on_others,
        "bias_on_others": count(bias_right[~against]),
        "largest_share_of_label": float(against.groupby(images["label"]).mean().max()),
        "p_value": p_value,
        "disagreements": count(images["prediction"] != images["bias_prediction"]),
    }
    conflicting = images["conflicting"]
    if (conflicting >= 0).any():
        aligned, against_bias = (count(bias_right[conflicting == each]) for each in (0, 1))
        verdict["bias_on_aligned"], verdict["bias_on_conflicting"] = aligned, against_bias
        verdict["labelled_p_value"] = _fisher_p_value(aligned, against_bias)
    too_few = not _could_be_found(verdict)
    verdict["finding"] = _finding(verdict)
    if verdict["finding"] == "no sign" and (too_few or not enough_steps):
        verdict["finding"] = "unclear"
    verdict["sentence"] = _sentence(verdict)
    verdict["evidence"] = _evidence(verdict)
    if verdict["finding"] == "unclear" and too_few:
        verdict["evidence"].append("There are too few training images to find a shortcut.")
    if not enough_steps:
        verdict["evidence"].append("The budget was too small for enough training steps.")
    return verdict


def count(right: "Sequence[bool] | pd.Series[bool]") -> Count:
    """Return how many of some values are true, with the 95 % Wilson interval of their share."""
    values = np.asarray(right, dtype=bool)
    if not len(values):
        return {"right": 0, "images": 0, "low": None, "high": None}
    low, high = wilson(float(values.mean()), len(values))
    return {"right": int(values.sum()), "images": len(values), "low": low, "high": high}


def _per_image(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a row per training image, from the replica that was not trained on it.

    Only `against` uses the others, too: it is true if the bias branch is wrong on the image, and
    those of at most `_LEARNED_BY` of the replicas trained on it predict its label.
    """
    of_train = predictions[predictions["split"] == "train"]
    held_out = of_train[of_train["held_out"]].set_index("image_id")
    trained = of_train[~of_train["held_out"]]
    learned = (trained["bias_prediction"] == trained["label"]).groupby(trained["image_id"]).mean()
    bias_right = held_out["bias_prediction"] == held_out["label"]
    return held_out.assign(
        debiased_right=held_out["prediction"] == held_out["label"],
        bias_right=bias_right,
        against=~bias_right & (learned.reindex(held_out.index) <= _LEARNED_BY),
    )


def _chance(labels: "pd.Series[int]") -> float:
    return float(labels.value_counts(normalize=True).max())


def _fisher_p_value(first: Count, second: Count) -> float:
    """Return the p-value of Fisher's exact test of whether the first share is the larger one."""
    table = [[each["right"], each["images"] - each["right"]] for each in (first, second)]
    return float(scipy.stats.fisher_exact(table, alternative="greater").pvalue)


def _is_inverted(
    right: "pd.Series[bool]", bias_right: "pd.Series[bool]", labels: "pd.Series[int]"
) -> bool:
    """See `Verdict.inverted`."""
    on_wrong, on_right = count(right[~bias_right]), count(right[bias_right])
    is_better_there = _p_value(on_wrong, on_right, inverted=True) < ALPHA
    return is_better_there and not _above_chance(on_right, _chance(labels))


def _p_value(on_against: Count, on_others: Count, *, inverted: bool) -> float:
    """See `Verdict.p_value`; 1 without images."""
    if not on_against["images"]:
        return 1.0
    if inverted:
        return _fisher_p_value(on_against, on_others)
    accuracy = on_others["right"] / on_others["images"] if on_others["images"] else 0.0
    test = scipy.stats.binomtest(
        on_against["right"],
        on_against["images"],
        _SHARE_OF_ACCURACY * accuracy,
        alternative="greater",
    )
    return float(test.pvalue)


def _finding(verdict: Verdict) -> Finding:
    against = verdict["against"]["right"]
    if not _above_chance(verdict["bias_branch"], verdict["chance"]):
        return "unclear"
    if "labelled_p_value" in verdict and verdict["bias_on_conflicting"]["images"]:
        aligned, conflicting = (
            each["right"] / max(each["images"], 1)
            for each in (verdict["bias_on_aligned"], verdict["bias_on_conflicting"])
        )
        is_large = aligned - conflicting >= _LARGE_DIFFERENCE
        if is_large and verdict["labelled_p_value"] < ALPHA:
            return "shortcut"
    is_ignored = verdict["largest_share_of_label"] >= _IGNORED
    has_learned = verdict["inverted"] or _above_chance(
        verdict["debiased_branch"], verdict["chance"]
    )
    if is_ignored or not has_learned:
        return "unclear"
    if against < FEWEST_IMAGES:
        return "unclear" if verdict["p_value"] < ALPHA else "no sign"
    # If inverted, the bias branch is right on all others by definition.
    easy = verdict["bias_branch" if verdict["inverted"] else "bias_on_others"]
    if easy["right"] < _EASY * easy["images"]:
        return "no sign"
    if verdict["p_value"] >= WEAK_ALPHA:
        return "unclear" if _stands_out(verdict) else "no sign"
    return "shortcut" if verdict["p_value"] < ALPHA else "unclear"


def _could_be_found(verdict: Verdict) -> bool:
    """Return whether there are enough images to find a shortcut that FEWEST_IMAGES contradict."""
    branch = verdict["bias_branch"]
    right = max(branch["images"] - FEWEST_IMAGES, 0)
    return _above_chance({**branch, "right": right}, verdict["chance"])


def _stands_out(verdict: Verdict) -> bool:
    """Return whether the bias branch learned all labels and gets many images wrong, few others."""
    against, on_others = verdict["against"], verdict["bias_on_others"]
    has_learned = _above_chance(verdict["bias_branch"], verdict["chance"])
    is_easy = on_others["right"] >= _NEARLY_ALL * on_others["images"]
    return (
        has_learned
        and verdict["largest_share_of_label"] < _IGNORED
        and is_easy
        and against["right"] >= max(FEWEST_IMAGES, _MANY * against["images"])
    )


def _above_chance(branch: Count, chance: float) -> bool:
    if not branch["images"]:
        return False
    test = scipy.stats.binomtest(branch["right"], branch["images"], chance, alternative="greater")
    return bool(test.pvalue < ALPHA)


def _sentence(verdict: Verdict) -> str:
    against = verdict["against"]
    images = f"{against['images']:,} training images"
    if verdict["finding"] == "shortcut":
        if against["right"]:
            unless = ", or their labels are wrong" if verdict["inverted"] else ""
            return f"A shortcut is likely: {_of(against)} training images go against it{unless}."
        return f"A shortcut is likely in these {images}, as the bias labels show."
    if verdict["finding"] == "no sign":
        return f"No sign of a shortcut in {images}."
    if _stands_out(verdict):
        return (
            f"Unclear: {_of(against)} training images go against what is easy to learn; they go "
            "against a shortcut, are hard, or have wrong labels. Look at the first suspects."
        )
    return f"Unclear: {images} do not show whether there is a shortcut."


def _evidence(verdict: Verdict) -> list[str]:
    lines = [
        f"The bias branch predicts the label of {_of(verdict['bias_branch'])} held-out images; "
        "always naming the most frequent label would be right for "
        f"{100 * verdict['chance']:.0f} %.",
        f"The debiased branch predicts the label of {_of(verdict['debiased_branch'])} held-out "
        "images.",
        f"The branches disagree on {_of(verdict['disagreements'])} images.",
    ]
    against = verdict["against"]["right"]
    if against:
        when = "when held out" if verdict["inverted"] else "even when trained on them"
        lines.append(
            f"Images that the bias branch contradicts {when}: {against:,}. Of these the debiased "
            f"branch predicts {_of(verdict['debiased_on_against'])}, of the others "
            f"{_of(verdict['debiased_on_others'])} (p = {verdict['p_value']:.2g})."
        )
    else:
        lines.append("There is no image that the bias branch contradicts when trained on it.")
    if "bias_on_aligned" in verdict:
        lines.append(
            "By the bias labels, the bias branch is right for "
            f"{_of(verdict['bias_on_aligned'])} bias-aligned and "
            f"{_of(verdict['bias_on_conflicting'])} bias-conflicting images."
        )
    if verdict["finding"] == "no sign":
        lines.append(
            "A shortcut that holds for every image, or that the bias branch did not learn, would "
            "not be found."
        )
    return lines


def _of(each: Count) -> str:
    if each["low"] is None or each["high"] is None:
        return "0 of 0"
    share = f"{100 * each['right'] / each['images']:.1f} %"
    return (
        f"{each['right']:,} of {each['images']:,} ({share}; "
        f"95 % interval {100 * each['low']:.1f} % to {100 * each['high']:.1f} %)"
    )
