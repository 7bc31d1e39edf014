"""Folds, and training without them."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.audit import held_out_folds, predict_all
from debias_pipeline.methods import Task, get_method
from debias_pipeline.training import leave_out, train
from training.tiny_runs import SHAPE, tiny_data, tiny_recipe


@given(
    st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(2, 5), st.integers(0, 2**31)
)
def test_every_image_is_left_out_once_and_labels_are_spread_over_the_folds(labels, folds, seed):
    labels = np.array(labels)
    held_out = held_out_folds(labels, folds, seed)
    assert held_out.shape == (1 + folds, len(labels))
    assert not held_out[0].any()
    assert (held_out.sum(0) == 1).all()
    for label in set(labels.tolist()):
        sizes = held_out[1:, labels == label].sum(1)
        assert sizes.max() - sizes.min() <= 1


def test_the_same_seed_gives_the_same_folds():
    labels = np.arange(40) % 3
    assert (held_out_folds(labels, 4, 7) == held_out_folds(labels, 4, 7)).all()
    assert (held_out_folds(labels, 4, 7) != held_out_folds(labels, 4, 8)).any()


@pytest.fixture(scope="module")
def trained():
    recipe = tiny_recipe("disent")
    data = tiny_data()
    held_out = held_out_folds(data.splits["train"].labels, 2, 0)
    method = get_method("disent")(recipe, Task(SHAPE, 3, range(3)))
    leave_out(method, held_out)
    seen = torch.zeros(3, held_out.shape[1], dtype=torch.bool)
    losses = method.losses

    def noted(batch, step):
        for replica, index in enumerate(batch.index):
            seen[replica, index] = True
        return losses(batch, step)

    method.losses = noted
    train(method, recipe, data)
    return method, data, held_out, seen.numpy()


def test_a_replica_is_trained_on_all_images_but_those_it_leaves_out(trained):
    _, _, held_out, seen = trained
    assert (seen == ~held_out).all()


@pytest.mark.parametrize("name", ["lc", "debian"])
def test_methods_with_several_optimisers_and_streams_leave_images_out_too(name):
    recipe, data = tiny_recipe(name), tiny_data()
    held_out = held_out_folds(data.splits["train"].labels, 2, 0)
    method = get_method(name)(recipe, Task(SHAPE, 3, range(3)))
    leave_out(method, held_out)
    updates, seen = method.updates, []

    def noted(batches, step):
        seen.append([batch.index for batch in batches])
        return updates(batches, step)

    method.updates = noted
    train(method, recipe, data)
    for stream in zip(*seen, strict=True):
        for replica, index in enumerate(torch.cat(stream, 1)):
            assert set(index.tolist()) == set(np.flatnonzero(~held_out[replica]).tolist())


def test_predictions_have_a_row_per_image_and_replica(trained):
    method, data, held_out, _ = trained
    table = predict_all(method, data, held_out, "fp32")
    images = sum(len(split) for split in data.splits.values())
    assert len(table) == 3 * images
    assert not table.duplicated(["image_id", "replica"]).any()
    of_train = table[table["split"] == "train"].pivot(
        index="replica", columns="image_id", values="held_out"
    )
    assert (of_train[data.splits["train"].image_ids].to_numpy() == held_out).all()
    assert table[table["split"] != "train"]["held_out"].all()
    pixels = data.gather(data.splits["test"].rows)
    method.eval()
    with torch.inference_mode():
        images = method.recipe.transform.for_evaluation(pixels).unsqueeze(0)
        intrinsic, bias = method.predict_branches(images)
    expected = pd.Series(intrinsic[1].argmax(-1).numpy())
    rows = table[(table["split"] == "test") & (table["replica"] == 1)].reset_index()
    assert rows["prediction"].eq(expected).all()
    assert rows["bias_prediction"].eq(pd.Series(bias[1].argmax(-1).numpy())).all()
