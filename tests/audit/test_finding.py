"""Data with a shortcut and without one, really trained on."""

import numpy as np
import pandas as pd
import pytest
import torch

from debias_pipeline.audit import decide, held_out_folds, predict_all
from debias_pipeline.biased_data.manifest import make_manifest
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Task, get_method
from debias_pipeline.training import leave_out, train

LABELS, SIDE, IMAGES = 4, 8, 600
STEPS = 300


def pictures(seed, *, shuffled=False, with_bias=False):
    """Pictures whose quadrant with a bar is the label, and whose tint is the bias."""
    random = np.random.default_rng(seed)
    label = np.arange(IMAGES) % LABELS
    other = (label + random.integers(1, LABELS, IMAGES)) % LABELS
    bias = np.where(np.arange(IMAGES) < 0.05 * IMAGES, other, label)
    if shuffled:
        bias = random.permutation(bias)
    order = random.permutation(IMAGES)
    label, bias = label[order], bias[order]
    tints = np.array([[70, 0, 0], [0, 70, 0], [0, 0, 70], [50, 50, 0]])
    images = random.normal(90, 12, (IMAGES, SIDE, SIDE, 3)) + tints[bias][:, None, None]
    for image, quadrant in enumerate(label):
        top, left = 4 * (quadrant // 2), 4 * (quadrant % 2)
        images[image, top + random.integers(4), left : left + 4] += 70
    split = np.repeat(["train", "valid", "test"], [IMAGES - 40, 20, 20])
    manifest = make_manifest(
        split=split,
        label=label.astype(np.int16),
        bias=bias.astype(np.int16) if with_bias else np.full(IMAGES, -1, np.int16),
        conflicting=pd.array(bias != label if with_bias else [pd.NA] * IMAGES, dtype="boolean"),
        source=[str(image) for image in range(IMAGES)],
    )
    images = images.clip(0, 255).astype(np.uint8)
    return ImageData.from_catalog(images, manifest, torch.device("cpu"))


def finding(data, seed):
    recipe = get_method("disent").recipe_type(
        method="disent", network="mlp", lr=0.01, batch_size=64, steps=STEPS, eval_every=STEPS,
        lambda_dis=1, lambda_swap_b=1, lambda_swap=1, swap_start=75, decay_every=300, gamma=1,
    )  # fmt: skip
    held_out = held_out_folds(data.splits["train"].labels, 4, seed)
    method = get_method("disent")(recipe, Task((SIDE, SIDE, 3), LABELS, range(len(held_out))))
    leave_out(method, held_out)
    train(method, recipe, data)
    return decide(predict_all(method, data, held_out, "fp32"))


@pytest.mark.slow
def test_data_without_a_shortcut_shows_no_sign_of_one():
    verdicts = [finding(pictures(seed, shuffled=True), seed)["finding"] for seed in range(10)]
    assert verdicts.count("no sign") >= 9, verdicts


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
def test_with_bias_labels_a_shortcut_is_found_and_none_is_made_up(shuffled):
    verdict = finding(pictures(0, shuffled=shuffled, with_bias=True), 0)
    assert verdict["finding"] == ("no sign" if shuffled else "shortcut")


@pytest.mark.slow
def test_images_against_a_shortcut_are_those_that_the_bias_branch_contradicts():
    assert finding(pictures(0), 0)["against"]["right"] == pytest.approx(28, abs=5)
    assert finding(pictures(0, shuffled=True), 0)["against"]["right"] <= 2
