"""ReBias: its biased network, and both updates of a step against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_rebias import LiteralRebias
from small_batches import BATCH, SHAPE, batch_of, copy_network, images_of, labels_of
from small_runs import aligned_data, double_run

from debias_pipeline.methods import Task, get_method
from training.tiny_runs import double_precision


def recipe(**changes):
    fields = {"method": "rebias", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method("rebias").recipe_type(**{**fields, **changes})


@torch.no_grad()
def copy(method, literal):
    copy_network(method.encoder, method.head, 0, *literal.main)
    for name in ("first", "second", "head"):
        ours, theirs = getattr(method.biased, name), getattr(literal.biased, name)
        theirs.weight.copy_(ours.weight[0, 0].T.view(theirs.weight.shape))
        theirs.bias.copy_(ours.bias[0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("bandwidth", ["fixed", "median"])
def test_fifty_steps_equal_a_literal_transcription(bandwidth):
    """Losses and parameters of both networks."""
    of_recipe = recipe(bandwidth=bandwidth, sigma=0.5, lambda_f=2, lambda_g=3)
    literal, trained = LiteralRebias(of_recipe), LiteralRebias(of_recipe)
    bias_losses = []

    def begin(_, method):
        copy(method, literal)
        inner = method.bias_losses

        def recorded(batch):
            result = inner(batch)
            bias_losses.append(result.total.item())
            return result

        method.bias_losses = recorded

    run = double_run(of_recipe, on_begin=begin)
    data = aligned_data()
    labels = torch.from_numpy(data.splits["train"].labels)
    with double_precision():
        literal.start_optimisers()
        for (index, loss), bias_loss in zip(run.steps, bias_losses, strict=True):
            images = data.images[index]
            expected = literal.step(images, images.movedim(-1, 1), labels[index])
            assert (bias_loss, loss) == pytest.approx(expected, rel=1e-6)
    assert len(run.steps) == 50
    copy(run.method, trained)
    for part in ("main", "biased"):
        expected = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-8)


def test_without_dependence_in_the_loss_it_is_vanilla_with_a_network_next_to_it():
    random = np.random.default_rng(1)
    labels, images = labels_of(random), images_of(random)
    method = get_method("rebias")(recipe(lambda_f=0), Task(SHAPE, 10, (0,)))
    vanilla = get_method("vanilla")(recipe(), Task(SHAPE, 10, (0,)))
    batch = batch_of(random, images, labels)
    method.losses(batch, 0).total.sum().backward()
    vanilla.losses(batch, 0).total.sum().backward()
    ours, theirs = dict(method.named_parameters()), dict(vanilla.named_parameters())
    for name, parameter in theirs.items():
        torch.testing.assert_close(ours.pop(name).grad, parameter.grad)
    assert all(name.startswith("biased.") and each.grad is None for name, each in ours.items())


@pytest.mark.parametrize("size", [(28, 28), (96, 64)])
def test_the_biased_network_sees_colours_but_not_where_they_are(size):
    method = get_method("rebias")(recipe(network="resnet20"), Task((*size, 3), 10, (0, 1)))
    random = np.random.default_rng(1)
    images = torch.from_numpy(random.integers(0, 256, (1, 4, 3, *size), dtype=np.uint8))
    down, right = (-(-side // 16) for side in size)
    seen = images[..., ::down, ::right]
    assert max(seen.shape[-2:]) <= 16
    moved = images.clone()
    moved[..., ::down, ::right] = seen.flip(-1).roll(3, -2)
    features, logits = method.biased(images)
    assert logits.shape == (2, 4, 10)
    torch.testing.assert_close(method.biased(moved)[0], features)
    assert not torch.allclose(method.biased(images.flip(2))[0], features)


def test_a_batch_must_have_the_four_images_that_hsic_needs():
    with pytest.raises(ValueError, match="batch_size"):
        recipe(batch_size=3)
