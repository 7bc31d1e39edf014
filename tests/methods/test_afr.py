"""AFR: its weights, its clipping, and both stages against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_afr import LiteralAfr
from small_batches import BATCH, IMAGES, copy_network
from small_runs import LABELS, LOGITS, RecordedRun, aligned_data, double_run

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods import Task, get_method
from debias_pipeline.randomness import generator


def recipe(**changes):
    fields = {"method": "afr", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    fields |= {"first_steps": 50, "weight_gamma": 4, "lambda_head": 0.1, "head_lr": 0.05}
    return get_method("afr").recipe_type(**{**fields, **changes})


def run(seeds=(0,), on_begin=lambda stage, method: None, **changes):
    return double_run(recipe(**changes), seeds, on_begin)


def test_fifty_steps_of_each_stage_equal_a_literal_transcription():
    """The division, losses, weights, features and parameters of both stages."""
    literal, trained = LiteralAfr(recipe()), LiteralAfr(recipe())

    def copy_initial_weights(stage, method):
        if stage.name == "erm":
            copy_network(method.encoder, method.first_head, 0, literal.encoder, literal.head)

    ours = run(on_begin=copy_initial_weights)
    data = aligned_data()
    labels = torch.from_numpy(data.splits["train"].labels)
    order = torch.randperm(IMAGES, generator=generator(0, "images of the head")).tolist()
    second, first = order[: IMAGES // 5], sorted(order[IMAGES // 5 :])
    expected = list(literal.first_stage(data.images, labels, first, generator(0, "shuffle")))
    assert [index for index, _ in ours.steps[:50]] == [index for index, _ in expected]
    expected = [loss for _, loss in expected]
    expected += literal.second_stage(data.images, labels, second)
    assert len(expected) == 100
    np.testing.assert_allclose([loss for _, loss in ours.steps], expected, rtol=1e-6)
    assert min(literal.norms) < 1 < max(literal.norms)
    weights = ours.result.sample_weights["weight"]
    np.testing.assert_allclose(weights[second] / len(second), literal.weights, rtol=1e-6)
    assert weights[first].isna().all()
    copy_network(ours.method.encoder, ours.method.head, 0, trained.encoder, trained.head)
    for part in ("encoder", "head"):
        state = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, state[name], rtol=1e-5, atol=1e-8)


def test_weights_have_the_values_of_the_published_arithmetic():
    method = get_method("afr")(recipe(), Task((2, 2, 3), 3, (0,)))
    weights = method._weigh(LOGITS.unsqueeze(0), LABELS.unsqueeze(0))
    expected = [0.166603, 0.513870, 0.081565, 0.237962]
    assert weights[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_without_gamma_and_lambda_the_head_is_trained_on_the_mean_cross_entropy():
    method = run(weight_gamma=0, lambda_head=0, steps=3).method
    logits = method.head(method._stored.unsqueeze(1))[:, 0]
    plain = cross_entropy(logits, method._labels).mean(1)
    torch.testing.assert_close(method._head_loss(), plain)


def test_each_replica_has_its_own_division_and_its_own_clipping():
    method = run(seeds=(0, 1), first_steps=5, steps=3).method
    assert method._index[0].tolist() != method._index[1].tolist()
    with torch.no_grad():
        method.head.weight[0] *= 100
    losses = method._head_loss()
    parameters = list(method.head.parameters())
    plain = torch.autograd.grad(losses.sum(), parameters, retain_graph=True)
    clipped = method._clipped(losses)
    torch.testing.assert_close(clipped, losses)
    gradients = torch.autograd.grad(clipped.sum(), parameters)
    norms = [
        torch.cat([each.flatten(1) for each in tensors], 1).norm(dim=1).tolist()
        for tensors in (plain, gradients)
    ]
    assert norms[0][0] > 1 > norms[0][1]
    assert norms[1] == pytest.approx([1, norms[0][1]], rel=1e-5)


def test_the_second_stage_moves_the_head_only_and_starts_from_the_first_head():
    states = []
    ours = run(on_begin=lambda stage, method: states.append(method.replica_state(0)))
    _, between = states
    for name, after in ours.method.replica_state(0).items():
        assert torch.equal(between[name], after) != name.startswith("head.")
    for name in ("weight", "bias"):
        assert torch.equal(between[f"head.{name}"], between[f"first_head.{name}"])


def test_features_are_those_in_eval_mode_without_augmentation():
    changes = {"network": "resnet20", "crop_padding": 2, "flip": True, "normalise": "cifar10"}
    data = aligned_data()
    method = RecordedRun(recipe(**changes, first_steps=2, steps=2), data).method.eval()
    images = method.recipe.transform.for_evaluation(data.gather(method._index[0]))
    with torch.no_grad():
        features = method.encoder(images.unsqueeze(0))[:, 0]
    torch.testing.assert_close(features, method._stored)


def test_features_and_weights_are_no_part_of_a_checkpoint():
    parts = {name.split(".")[0] for name in run(steps=1).method.replica_state(0)}
    assert parts == {"encoder", "head", "first_head"}
