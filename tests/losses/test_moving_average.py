"""Moving averages and their class maxima against hand-worked numbers and a plain scan."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from debias_pipeline.losses import ClassNormalisedAverage, moving_average


def averages(labels, classes=2, replicas=1, branches=1, alpha=0.7):
    return ClassNormalisedAverage(torch.tensor(labels), classes, replicas, branches, alpha)


def update(of, index, losses):
    return of.update(torch.tensor([index]), torch.tensor([[losses]])).flatten().tolist()


def test_first_visit_takes_the_loss_itself_and_later_ones_decay():
    of = averages([0, 0, 1])
    update(of, [0], [2.0])
    update(of, [0], [1.0])
    # 0.7 · 2 + 0.3 · 1
    torch.testing.assert_close(of.of_all_images(), torch.tensor([[[1.7, 0.0, 0.0]]]))


def test_a_first_loss_of_zero_counts_as_a_visit():
    of = averages([0])
    update(of, [0], [0.0])
    update(of, [0], [1.0])
    torch.testing.assert_close(of.of_all_images(), torch.tensor([[[0.3]]]))


def test_normalised_by_the_largest_of_the_class_in_the_whole_split():
    of = averages([0, 0, 1, 1])
    assert update(of, [0, 2], [4.0, 1.0]) == [1.0, 1.0]
    # Class 0: 2 of 4, the largest is outside of the batch. Class 1: image 3 becomes the largest.
    np.testing.assert_allclose(update(of, [1, 3], [2.0, 5.0]), [0.5, 1.0])
    # Image 0 falls to 0.7 · 4 = 2.8: the maximum of its class falls with it.
    np.testing.assert_allclose(update(of, [0], [0.0]), [1.0])
    np.testing.assert_allclose(
        of.of_all_images_normalised().flatten(), [1.0, 2 / 2.8, 1 / 5, 1.0], rtol=1e-6
    )


def test_images_not_yet_visited_count_as_zero():
    of = averages([0, 0])
    update(of, [0], [3.0])
    assert of.of_all_images_normalised().flatten().tolist() == [1.0, 0.0]


def test_a_class_whose_losses_are_all_zero_gives_zero_not_nan():
    assert update(averages([0, 0]), [0, 1], [0.0, 0.0]) == [0.0, 0.0]


@pytest.fixture(scope="module", params=[1, 16, 2**15], ids=["deep", "middling", "flat"])
def depth(request):
    """Small tables that are scanned make deep trees of few images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving_average, "MOST_SCANNED", request.param)
        patch.setattr(moving_average, "BLOCK", 4)
        yield


def test_a_tree_is_as_deep_as_its_largest_class_asks_for():
    assert averages([0] * 60 + [1] * 10).depth == 0
    assert averages([0] * 50_000, classes=1).depth == 1
    assert averages([0] * 40_000 + [1] * 900_000).depth == 2


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 2), st.integers(1, 200))
def test_equals_a_scan_of_the_whole_split(depth, seed, replicas, branches, images):
    random = np.random.default_rng(seed)
    classes = 3
    labels = random.integers(0, classes, images)
    labels[: min(classes, images)] = np.arange(classes)[: min(classes, images)]
    of = averages(labels.tolist(), classes, replicas, branches)
    plain = np.full((replicas, branches, images), np.nan)
    for _ in range(8):
        size = random.integers(1, images + 1)
        index = np.stack([random.permutation(images)[:size] for _ in range(replicas)])
        losses = random.exponential(size=(replicas, branches, size)).astype(np.float32)
        result = of.update(torch.tensor(index), torch.tensor(losses)).numpy()
        for r in range(replicas):
            for k in range(branches):
                row, at = plain[r, k], index[r]
                old = row[at]
                row[at] = np.where(np.isnan(old), losses[r, k], 0.7 * old + 0.3 * losses[r, k])
                known = np.nan_to_num(row)
                largest = np.array([known[labels == label].max() for label in labels[at]])
                np.testing.assert_allclose(result[r, k], known[at] / largest, rtol=1e-5)
