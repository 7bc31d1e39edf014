"""LfF: its equations, its stop-gradients, and the whole step against a literal transcription."""

import math

import numpy as np
import pytest
import torch
from literal_lff import LiteralLff
from small_batches import BATCH, SHAPE, batch_of, copy_branch, images_of, labels_of

from debias_pipeline.methods import Batch, Task, get_method

INTRINSIC, BIAS = 0, 1


def recipe(**changes):
    fields = {"method": "lff", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method("lff").recipe_type(**{**fields, **changes})


def lff(of_recipe, labels, seeds=(0,), classes=10):
    method = get_method("lff")(of_recipe, Task(SHAPE, classes, seeds))
    method.begin_training(labels)
    return method


def stepped(seed=1, change=None, **changes):
    """A method and its losses after one step's backward pass; `change` alters it before."""
    random = np.random.default_rng(seed)
    labels, images = labels_of(random), images_of(random)
    method = lff(recipe(**changes), labels)
    if change:
        change(method)
    batch = batch_of(random, images, labels)
    losses = method.losses(batch, 0)
    losses.total.sum().backward()
    return method, losses, batch


def gradients(method, branch):
    """First layers of the encoders are [R, D, K, H], all else is [R, K, …]."""
    encoder = method.encoder
    others = [encoder.second, encoder.third, method.heads]
    return [encoder.first.weight.grad[:, :, branch], encoder.first.bias.grad[:, branch]] + [
        parameter.grad[:, branch] for layer in others for parameter in layer.parameters()
    ]


@pytest.mark.slow
def test_fifty_steps_equal_a_literal_transcription():
    """Losses, weights W and parameters of both networks."""
    random = np.random.default_rng(0)
    labels, images = labels_of(random), images_of(random, np.float64)
    of_recipe = recipe()
    method = lff(of_recipe, labels).double()
    literal, ours = (LiteralLff(labels.numpy(), of_recipe) for _ in range(2))
    copy_networks(method, literal)
    adam = torch.optim.Adam(method.parameters(), lr=of_recipe.lr)
    for step in range(50):
        batch = batch_of(random, images, labels)
        losses = method.losses(batch, step)
        adam.zero_grad()
        losses.total.sum().backward()
        adam.step()
        pixels = batch.images[0].movedim(1, -1)
        loss_d, loss_b, weights = literal.step(pixels, batch.labels[0], batch.index[0].numpy())
        assert losses.terms["loss_intrinsic"].item() == pytest.approx(loss_d, rel=1e-6)
        assert losses.terms["loss_bias"].item() == pytest.approx(loss_b, rel=1e-6)
        np.testing.assert_allclose(losses.weights[0].numpy(), weights.numpy(), rtol=1e-5, atol=1e-7)
    # W has come to tell images apart, so that it was worth comparing.
    assert weights.max() - weights.min() > 0.3
    copy_networks(method, ours)
    for part in ("debiased", "biased"):
        expected = getattr(literal, part).state_dict()
        for name, tensor in getattr(ours, part).state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-7)


def copy_networks(method, literal):
    copy_branch(method, INTRINSIC, *literal.debiased)
    copy_branch(method, BIAS, *literal.biased)


def test_two_steps_by_hand():
    """Logits are made by the heads' biases alone, so every loss is a logarithm of a ratio."""
    method = lff(recipe(q=0.5, alpha=0.75), torch.tensor([0, 0, 1, 1]), classes=2)
    set_odds(method, intrinsic=1, bias=3)
    images, labels = torch.zeros(1, 2, 3, 28, 28), torch.tensor([[0, 1]])
    first = method.losses(Batch(images, labels, torch.tensor([[0, 2]])), 0)
    # f_d: p = 1/2 for both. f_b: p = 3/4 for the label 0, 1/4 for the label 1.
    d, b_of_0, b_of_1 = math.log(2), math.log(4 / 3), math.log(4)
    # Both images are the only ones of their class that have been visited: each over its class
    # is 1, and W = 1 / (1 + 1).
    assert first.weights[0].tolist() == pytest.approx([0.5, 0.5], rel=1e-6)
    gce = (b_of_0 * 0.5 * (3 / 4) ** 0.5 + b_of_1 * 0.5 * (1 / 4) ** 0.5) / 2
    assert first.terms["loss_intrinsic"].item() == pytest.approx(0.5 * d, rel=1e-6)
    assert first.terms["loss_bias"].item() == pytest.approx(gce, rel=1e-6)
    assert first.total.item() == pytest.approx(0.5 * d + gce, rel=1e-6)

    set_odds(method, intrinsic=3, bias=1)
    second = method.losses(Batch(images, labels, torch.tensor([[0, 3]])), 1)
    # Image 0 is seen again, and alone in its class: still 1 and 1. Image 3 is new: its averages
    # are its losses, log 4 (d) and log 2 (b); image 2 of its class holds log 2 (d), log 4 (b).
    assert second.weights[0].tolist() == pytest.approx([0.5, 0.5 / (0.5 + 1)], rel=1e-6)
    averages = method.image_losses()
    assert averages["intrinsic"][0].tolist() == pytest.approx(
        [0.75 * d + 0.25 * math.log(4 / 3), 0, d, math.log(4)], rel=1e-6
    )
    assert averages["bias"][0].tolist() == pytest.approx(
        [0.75 * b_of_0 + 0.25 * d, 0, b_of_1, d], rel=1e-6
    )


@torch.no_grad()
def set_odds(method, intrinsic, bias):
    """Let the networks say label 0 with these odds against label 1, whatever they see."""
    method.heads.weight.zero_()
    method.heads.bias.copy_(torch.tensor([[[math.log(intrinsic), 0], [math.log(bias), 0]]]))


def test_weights_carry_no_gradient():
    method, losses, batch = stepped()
    assert not losses.weights.requires_grad
    # With W held as numbers, f_d's gradients are the same.
    logits = method.predict(batch.images)[0]
    plain = torch.nn.functional.cross_entropy(logits, batch.labels[0], reduction="none")
    expected = torch.autograd.grad((losses.weights[0] * plain).mean(), method.heads.weight)[0]
    torch.testing.assert_close(method.heads.weight.grad[:, INTRINSIC], expected[:, INTRINSIC])


def test_the_bias_network_learns_as_if_it_were_alone():
    @torch.no_grad()
    def other_intrinsic(method):
        method.encoder.second.weight[:, INTRINSIC] *= -1
        method.heads.weight[:, INTRINSIC] *= 2

    (method, losses, *_), (changed, of_changed, *_) = stepped(), stepped(change=other_intrinsic)
    assert not torch.equal(losses.weights, of_changed.weights)
    for ours, theirs in zip(gradients(method, BIAS), gradients(changed, BIAS), strict=True):
        assert ours.abs().sum() > 0
        torch.testing.assert_close(ours, theirs)


def test_the_bias_network_reaches_the_debiased_one_through_its_weights_only(monkeypatch):
    @torch.no_grad()
    def other_bias(method):
        method.encoder.second.weight[:, BIAS] *= -1
        method.heads.weight[:, BIAS] *= 2

    (method, *_), (changed, *_) = stepped(), stepped(change=other_bias)
    assert not torch.allclose(method.heads.weight.grad[:, 0], changed.heads.weight.grad[:, 0])
    # With the same W whatever the networks say, nothing of the change is left.
    monkeypatch.setattr(
        get_method("lff"), "weigh", lambda _, normalised: torch.full_like(normalised[:, 0], 0.3)
    )
    (method, *_), (changed, *_) = stepped(), stepped(change=other_bias)
    pairs = zip(gradients(method, INTRINSIC), gradients(changed, INTRINSIC), strict=True)
    for ours, theirs in pairs:
        assert ours.abs().sum() > 0
        torch.testing.assert_close(ours, theirs)


def test_replicas_do_not_reach_each_other():
    random = np.random.default_rng(2)
    labels, images = labels_of(random), images_of(random)
    method = lff(recipe(), labels, seeds=(0, 1))
    method.losses(batch_of(random, images, labels, replicas=2), 0).total[0].backward()
    assert method.heads.weight.grad[0].abs().sum() > 0
    assert all(parameter.grad[1].abs().sum() == 0 for parameter in method.parameters())


def test_prediction_is_by_the_debiased_network_and_the_bias_network_is_heard_beside():
    method = lff(recipe(), labels_of(np.random.default_rng(5)), seeds=(0, 1))
    images = torch.rand(1, 3, 3, 28, 28)
    features = method.encoder(images)
    predicted, of_bias = method.predict_branches(images)
    assert torch.equal(predicted, method.predict(images))
    for branch, logits in ((INTRINSIC, predicted), (BIAS, of_bias)):
        for replica in range(2):
            weight = method.heads.weight[replica, branch]
            expected = features[replica, branch] @ weight + method.heads.bias[replica, branch]
            torch.testing.assert_close(logits[replica], expected)


def test_two_networks_of_vanillas_architecture():
    """One of the two alone has as many parameters as vanilla's network."""
    of_vanilla = get_method("vanilla")(recipe(method="vanilla"), Task(SHAPE, 10, (0,)))
    method = lff(recipe(), labels_of(np.random.default_rng(5)))

    def size(networks):
        return sum(each.numel() for each in networks.parameters())

    assert size(method) == 2 * size(of_vanilla)


def test_a_method_that_weighs_otherwise_says_so_once(monkeypatch):
    """`weigh` decides W in the losses and in `sample_weights` alike."""
    monkeypatch.setattr(get_method("lff"), "weigh", lambda _, normalised: normalised[:, BIAS] / 2)
    method, losses, batch = stepped()
    normalised = method._averages.of_all_images_normalised()[:, BIAS] / 2
    torch.testing.assert_close(method.image_weights(), normalised)
    torch.testing.assert_close(losses.weights, normalised.gather(1, batch.index))
    assert (losses.weights > 0).any()
