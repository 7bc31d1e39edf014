"""SelecMix: its pairs, the loss of its similarity network, and what it is without mixing."""

import numpy as np
import pytest
import torch
from small_batches import BATCH, SHAPE, batch_of, images_of, labels_of

from debias_pipeline.methods import Batch, Task, get_method

# Unit vectors of published arithmetic that was worked out apart from this project.
VECTORS = torch.tensor([[[1, 0], [0.6, 0.8], [0, 1], [-0.8, 0.6]]])
LABELS = torch.tensor([[0, 0, 1, 1]])


def recipe(name, **changes):
    fields = {"method": name, "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method(name).recipe_type(**{**fields, **changes})


def few_images(monkeypatch):
    method = get_method("selecmix")(recipe("selecmix"), Task((2, 2, 3), 2, (0,)))
    monkeypatch.setattr(method.similarity, "forward", lambda images: VECTORS)
    return method, Batch(torch.zeros(1, 4, 3, 2, 2), LABELS, torch.arange(4).unsqueeze(0))


# The published code gives 0, itself, as the partner of the first image among other labels.
@pytest.mark.parametrize(("same", "partners"), [(True, [1, 0, 3, 2]), (False, [2, 2, 1, 1])])
def test_partners_are_those_of_the_published_arithmetic(monkeypatch, same, partners):
    method, batch = few_images(monkeypatch)
    assert method._partners(batch, torch.tensor([[same]])).tolist() == [partners]


def test_the_loss_of_h_is_that_of_the_published_arithmetic(monkeypatch):
    method, batch = few_images(monkeypatch)
    monkeypatch.setattr(
        method.similarity, "forward", lambda images: VECTORS.clone().requires_grad_()
    )
    losses = method.similarity_losses(batch)
    assert losses.total.item() == pytest.approx(0.200168, abs=1e-6)


def test_mixed_with_themselves_images_train_vanillas_network(monkeypatch):
    random = np.random.default_rng(0)
    batch = batch_of(random, images_of(random), labels_of(random))
    own = torch.arange(BATCH).unsqueeze(0)
    method, vanilla = (
        get_method(name)(recipe(name), Task(SHAPE, 10, (0,))) for name in ("selecmix", "vanilla")
    )
    monkeypatch.setattr(method, "_partners", lambda batch, same_label: own)
    ours, theirs = method.losses(batch, 0), vanilla.losses(batch, 0)
    torch.testing.assert_close(ours.total, theirs.total)
    ours.total.sum().backward()
    theirs.total.sum().backward()
    torch.testing.assert_close(method.head.weight.grad, vanilla.head.weight.grad)
    for mine, other in zip(method.encoder.parameters(), vanilla.encoder.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_partners_have_half_of_a_mix_or_more_and_give_the_label():
    method = get_method("selecmix")(recipe("selecmix"), Task((2, 2, 3), 4, (0, 1)))
    # The image of label k has the value k everywhere, and labels are alone in the batch.
    labels = torch.arange(4).expand(2, -1)
    images = labels.view(2, 4, 1, 1, 1).expand(-1, -1, 3, 2, 2).float()
    batch = Batch(images, labels, labels)
    coins = []
    for _ in range(40):
        mixed, targets = method._mix(batch)
        distance = (targets - labels).abs()
        from_partner = (targets - mixed[:, :, 0, 0, 0]).abs()
        assert (from_partner <= distance / 2 + 1e-6).all()
        same = targets == labels
        assert (same.all(1) | ~same.any(1)).all()
        coins.append(same.all(1))
    # Replicas throw their own coins.
    assert 0.2 < torch.stack(coins).float().mean() < 0.8
    assert not torch.equal(*torch.stack(coins).unbind(1))


def test_weights_of_a_step_are_those_of_the_whole_batch_in_its_last_update_of_lff():
    random = np.random.default_rng(0)
    labels, images = labels_of(random), images_of(random)
    method = get_method("lff_selecmix")(recipe("lff_selecmix"), Task(SHAPE, 10, (0,)))
    method.begin_training(labels)
    batch = batch_of(random, images, labels)
    updates = list(method.updates([batch], 0))
    assert [each.optimisers for each in updates] == [("main",), ("similarity",)] * 4
    assert [each.losses.weights is None for each in updates] == [True] * 6 + [False, True]
    assert updates[6].losses.weights.shape == (1, BATCH)
