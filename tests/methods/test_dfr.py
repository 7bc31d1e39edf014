"""DFR: its samples, its penalty, and both stages against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_afr import LiteralAfr
from literal_dfr import balanced, second_stage
from sklearn.linear_model import LogisticRegression
from small_batches import BATCH, IMAGES, copy_network, labels_of
from small_runs import RecordedRun, data_of

from debias_pipeline.errors import UserError
from debias_pipeline.methods import get_method
from debias_pipeline.methods.dfr import draw_balanced
from debias_pipeline.randomness import generator
from training.tiny_runs import double_precision


def recipe(**changes):
    fields = {"method": "dfr", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    fields |= {"first_steps": 50, "inverse_penalty": 1, "head_lr": 0.1}
    return get_method("dfr").recipe_type(**{**fields, **changes})


def biased_data():
    random = np.random.default_rng(0)
    labels = labels_of(random).numpy()
    return data_of(random, labels, random.integers(0, 2, IMAGES))


def run(seeds=(0,), on_begin=lambda stage, method: None, **changes):
    with double_precision():
        return RecordedRun(recipe(**changes), biased_data(), seeds, on_begin)


@pytest.mark.slow
def test_fifty_steps_of_each_stage_equal_a_literal_transcription():
    """Images and losses of both stages, and the predictions of the mean head."""
    literal = LiteralAfr(recipe())

    def copy_initial_weights(stage, method):
        if stage.name == "erm":
            copy_network(method.encoder, method.first_head, 0, literal.encoder, literal.head)

    ours, data = run(on_begin=copy_initial_weights), biased_data()
    train = data.splits["train"]
    labels, groups = torch.from_numpy(train.labels), (2 * train.labels + train.bias).tolist()
    order = torch.randperm(IMAGES, generator=generator(0, "images of the head")).tolist()
    second, first = order[: IMAGES // 5], sorted(order[IMAGES // 5 :])
    expected = list(literal.first_stage(data.images, labels, first, generator(0, "shuffle")))
    assert [index for index, _ in ours.steps[:50]] == [index for index, _ in expected]
    of_second = [groups[row] for row in second]
    samples = balanced(second, of_second, generator(0, "balanced groups"))
    with torch.no_grad():
        features = literal.encoder(data.images)
    totals, weight, bias = second_stage(recipe(), features, labels, samples)
    expected = [loss for _, loss in expected] + totals
    assert len(expected) == 100
    np.testing.assert_allclose([loss for _, loss in ours.steps], expected, rtol=1e-6)
    mean, scale = features.mean(0), features.std(0, correction=0)
    scaled = torch.where(scale > 0, (features - mean) / scale, 0)
    with torch.no_grad():
        predicted = ours.method.predict(data.images.unsqueeze(0))[0]
    torch.testing.assert_close(predicted, scaled @ weight.T + bias, rtol=1e-5, atol=1e-8)


def test_samples_have_as_many_images_of_each_group_as_the_smallest_group_has():
    rows, groups = torch.arange(100, 112), torch.tensor([0] * 5 + [4] * 2 + [7] * 5)
    samples = draw_balanced(rows, groups, torch.Generator().manual_seed(0))
    assert samples.shape == (10, 6)
    for sample in samples:
        assert torch.bincount(groups[sample - 100]).tolist() == [2, 0, 0, 0, 2, 0, 0, 2]
        assert len(sample.unique()) == 6
    # Over all samples, more images of large groups are used.
    assert len(samples.unique()) > 6


@pytest.mark.slow
def test_enough_steps_reach_the_minimum_that_scikit_learn_finds():
    """On one sample, whose loss is that of scikit-learn divided by C and the number of images."""
    method = run(first_steps=5, steps=1500, inverse_penalty=0.3, head_lr=0.3).method
    size = int(method._sizes)
    labels = method._labels[0, :size].numpy()
    scaled = (method._stored[0, :size] - method.feature_mean[0]) / method.feature_scale[0]
    exact = LogisticRegression(
        C=0.3, l1_ratio=1, solver="saga", max_iter=100_000, tol=1e-8, random_state=0
    ).fit(scaled.numpy(), labels)
    ours = method.head.weight[0, 0].T.detach().numpy()[exact.classes_]
    np.testing.assert_allclose(ours, exact.coef_, atol=1e-3)
    assert (exact.coef_ == 0).any()
    assert (abs(ours[exact.coef_ == 0]) < 1e-3).all()


@pytest.mark.slow
def test_replicas_differ_in_the_sizes_of_their_samples_and_equal_runs_of_their_own():
    together = run(seeds=(0, 1, 2), first_steps=3, steps=20).method
    assert len(together._sizes.unique()) > 1
    for seed in range(3):
        alone = run(seeds=(seed,), first_steps=3, steps=20).method.replica_state(0)
        for name, tensor in together.replica_state(seed).items():
            torch.testing.assert_close(tensor, alone[name], rtol=1e-6, atol=1e-9)


def test_the_second_stage_moves_the_heads_only():
    states = []
    ours = run(
        on_begin=lambda stage, method: states.append(method.replica_state(0)),
        steps=3,
        inverse_penalty=100,
    )
    _, between = states
    for name, after in ours.method.replica_state(0).items():
        assert torch.equal(between[name], after) != name.startswith("head.")


def test_training_on_images_without_bias_labels_is_refused():
    labels = np.arange(IMAGES) % 10
    data = data_of(np.random.default_rng(0), labels, [-1, *labels[1:]])
    with pytest.raises(UserError, match="1 of 60 images"):
        RecordedRun(recipe(), data)


def test_features_and_samples_are_no_part_of_a_checkpoint():
    parts = {name.split(".")[0] for name in run(first_steps=1, steps=1).method.replica_state(0)}
    assert parts == {"encoder", "head", "first_head", "feature_mean", "feature_scale"}
