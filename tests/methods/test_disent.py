"""DisEnt: its equations, its stop-gradients, and the whole step against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_disent import LiteralDisent
from small_batches import BATCH, IMAGES, SHAPE, batch_of, copy_branch, labels_of

from debias_pipeline.methods import Task, get_method
from debias_pipeline.methods.disent import DisentRecipe


def recipe(**changes):
    fields = {
        "method": "disent", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50,
        "lambda_dis": 10, "lambda_swap_b": 10, "lambda_swap": 1, "swap_start": 20,
        "decay_every": 10, "gamma": 0.5,
    }  # fmt: skip
    return DisentRecipe(**{**fields, **changes})


def disent(of_recipe, labels, seeds=(0,)):
    method = get_method("disent")(of_recipe, Task(SHAPE, 10, seeds))
    method.begin_training(labels)
    return method


def copy_weights(method, literal):
    copy_branch(method, 0, literal.encoder_i, literal.head_i)
    copy_branch(method, 1, literal.encoder_b, literal.head_b)


def test_fifty_steps_equal_a_literal_transcription():
    """Losses, weights W and parameters, across the start of swapping and two decays."""
    random = np.random.default_rng(0)
    labels = labels_of(random)
    images = torch.from_numpy(random.random((IMAGES, 3, 28, 28)) * 50)
    of_recipe = recipe()
    method = disent(of_recipe, labels).double()
    literal = LiteralDisent(labels.numpy(), of_recipe)
    copy_weights(method, literal)
    literal.start_optimisers()
    adam = torch.optim.Adam(method.parameters(), lr=of_recipe.lr)
    permuter = method._permuters[0].clone_state()
    for step in range(50):
        batch = batch_of(random, images, labels)
        for group in adam.param_groups:
            group["lr"] = of_recipe.learning_rate(step)
        losses = method.losses(batch, step)
        adam.zero_grad()
        losses.total.sum().backward()
        adam.step()
        swaps = step > of_recipe.swap_start
        permutation = torch.randperm(BATCH, generator=permuter) if swaps else None
        pixels = batch.images[0].movedim(1, -1)
        loss, weights = literal.step(step, pixels, batch.labels[0], batch.index[0], permutation)
        assert losses.total.item() == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(losses.weights[0].numpy(), weights.numpy(), rtol=1e-5, atol=1e-7)
        assert ("loss_swap_bias" in losses.terms) == swaps
    trained = LiteralDisent(labels.numpy(), of_recipe)
    copy_weights(method, trained)
    for part in ("encoder_i", "encoder_b", "head_i", "head_b"):
        ours, theirs = getattr(trained, part), getattr(literal, part)
        for name, tensor in ours.state_dict().items():
            torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-5, atol=1e-7)


def gradients(of_recipe, step):
    random = np.random.default_rng(1)
    labels = labels_of(random)
    images = torch.from_numpy(random.random((IMAGES, 3, 28, 28), dtype=np.float32) * 50)
    method = disent(of_recipe, labels)
    losses = method.losses(batch_of(random, images, labels), step)
    losses.total.sum().backward()
    return method


@pytest.mark.parametrize("step", [0, 30])
def test_the_intrinsic_loss_does_not_reach_the_bias_branch(step):
    method = gradients(recipe(lambda_dis=0, lambda_swap_b=0), step)
    assert method.encoder.first.weight.grad[:, :, 0].abs().sum() > 0
    assert method.encoder.first.weight.grad[:, :, 1].abs().sum() == 0
    assert method.heads.weight.grad[:, 0].abs().sum() > 0
    assert method.heads.weight.grad[:, 1].abs().sum() == 0


@pytest.mark.parametrize("step", [0, 30])
def test_the_bias_loss_does_not_reach_the_intrinsic_branch(step):
    without = gradients(recipe(lambda_dis=0, lambda_swap_b=0), step)
    with_bias = gradients(recipe(lambda_dis=10, lambda_swap_b=10), step)
    assert torch.equal(
        without.encoder.first.weight.grad[:, :, 0], with_bias.encoder.first.weight.grad[:, :, 0]
    )
    assert torch.equal(without.heads.weight.grad[:, 0], with_bias.heads.weight.grad[:, 0])
    assert with_bias.encoder.first.weight.grad[:, :, 1].abs().sum() > 0


def test_features_are_swapped_strictly_after_swap_start():
    random = np.random.default_rng(2)
    labels = labels_of(random)
    images = torch.from_numpy(random.random((IMAGES, 3, 28, 28), dtype=np.float32))
    method = disent(recipe(swap_start=20), labels)
    assert "loss_swap_bias" not in method.losses(batch_of(random, images, labels), 20).terms
    assert "loss_swap_bias" in method.losses(batch_of(random, images, labels), 21).terms


def test_total_is_the_weighted_sum_of_its_terms():
    random = np.random.default_rng(3)
    labels = labels_of(random)
    images = torch.from_numpy(random.random((IMAGES, 3, 28, 28), dtype=np.float32))
    of_recipe = recipe(lambda_dis=2, lambda_swap_b=3, lambda_swap=0.1)
    losses = disent(of_recipe, labels).losses(batch_of(random, images, labels), 30)
    terms = {name: term.item() for name, term in losses.terms.items()}
    expected = (
        terms["loss_intrinsic"]
        + 2 * terms["loss_bias"]
        + 0.1 * (terms["loss_swap_intrinsic"] + 3 * terms["loss_swap_bias"])
    )
    assert losses.total.item() == pytest.approx(expected, rel=1e-6)


def test_weights_of_the_first_step_by_hand():
    """On a first visit both averages are the losses; W = b / (b + d), each over its class."""
    random = np.random.default_rng(4)
    labels = labels_of(random)
    images = torch.from_numpy(random.random((IMAGES, 3, 28, 28), dtype=np.float32) * 50)
    method = disent(recipe(), labels)
    batch = batch_of(random, images, labels)
    losses = method.losses(batch, 0)
    averages = {name: each[0].numpy() for name, each in method.image_losses().items()}
    for position, weight in zip(batch.index[0].numpy(), losses.weights[0].tolist(), strict=True):
        same = (labels == labels[position]).numpy()
        b = averages["bias"][position] / averages["bias"][same].max()
        d = averages["intrinsic"][position] / averages["intrinsic"][same].max()
        assert weight == pytest.approx(b / (b + d), rel=1e-5)


def test_learning_rate_decays_counted_from_swap_start():
    of_recipe = recipe(lr=0.01, swap_start=10000, decay_every=10000, steps=50000)
    rates = {step: of_recipe.learning_rate(step) for step in (0, 19999, 20000, 29999, 30000, 49999)}
    assert rates == {
        0: 0.01, 19999: 0.01, 20000: 0.005, 29999: 0.005, 30000: 0.0025, 49999: 0.00125
    }  # fmt: skip


def test_prediction_is_the_intrinsic_head_on_both_features():
    method = disent(recipe(), labels_of(np.random.default_rng(5)), seeds=(0, 1))
    images = torch.rand(1, 3, 3, 28, 28)
    features = method.encoder(images)
    for replica in range(2):
        both = torch.cat([features[replica, 0], features[replica, 1]], 1)
        expected = both @ method.heads.weight[replica, 0] + method.heads.bias[replica, 0]
        torch.testing.assert_close(method.predict(images)[replica], expected)
