"""SelecMix: its pairs, its losses, and whole steps against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_lff import LiteralLff, network
from literal_selecmix import LiteralMixing
from small_batches import BATCH, SHAPE, batch_of, copy_network, images_of, labels_of
from small_runs import aligned_data, double_run
from torch import nn

from debias_pipeline.methods import Batch, Task, get_method
from debias_pipeline.randomness import generator
from training.tiny_runs import double_precision

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


def test_a_batch_has_an_image_for_every_part():
    with pytest.raises(ValueError, match="a batch of 8 images cannot be divided into 9 parts"):
        recipe("selecmix", batch_size=8, mini_batches=9)


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


class RecordedBatches:
    """Remembers each step's images and the totals of its updates."""

    def __init__(self):
        self.steps = []

    def __call__(self, stage, method):
        updates = method.updates

        def recorded(batches, step):
            totals = []
            self.steps.append((batches[0].index[0].tolist(), totals))
            for update in updates(batches, step):
                totals.append(update.losses.total[0].item())
                yield update

        method.updates = recorded


def copy(method, literal, debiased, biased=None):
    h = method.similarity
    copy_network(h.encoder, h.first, 0, literal.h[0], literal.h[1])
    with torch.no_grad():
        literal.h[3].weight.copy_(h.second.weight[0, 0].T)
        literal.h[3].bias.copy_(h.second.bias[0, 0])
    head = method.head if biased is None else method.heads
    for branch, each in enumerate([debiased] if biased is None else [debiased, biased]):
        copy_network(method.encoder, head, branch, *each)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["selecmix", "lff_selecmix"])
def test_fifty_steps_equal_a_literal_transcription(name):
    """Losses and parameters of all networks."""
    of_recipe = recipe(name, mini_batches=2, similarity_lr=0.003, similarity_weight_decay=1e-4)
    data, recorded = aligned_data(), RecordedBatches()
    labels = torch.from_numpy(data.splits["train"].labels)
    literal, trained = LiteralMixing(of_recipe), LiteralMixing(of_recipe)
    lff = LiteralLff(labels.numpy(), of_recipe) if name == "lff_selecmix" else None
    networks = [network()] if lff is None else [lff.debiased, lff.biased]

    def on_begin(stage, method):
        copy(method, literal, *networks)
        recorded(stage, method)

    run = double_run(of_recipe, on_begin=on_begin)
    adams = [torch.optim.Adam(each.parameters(), lr=of_recipe.lr) for each in networks]
    mixer, coins = generator(0, "selective mixing"), []
    with double_precision():
        for index, totals in recorded.steps:
            # The package draws in double precision here as well.
            uniform = torch.rand(BATCH + 1, generator=mixer)
            mixed, targets = literal.mix(data.images[index], labels[index], uniform)
            coins.append(literal.same)
            expected = []
            for part in torch.arange(BATCH).chunk(2):
                own = [index[each] for each in part]
                loss = nn.functional.cross_entropy(networks[0](mixed[part]), targets[part])
                if lff is not None:
                    loss = 0.1 * loss + lff_loss(lff, data.images[own], labels[own], own)
                for adam in adams:
                    adam.zero_grad()
                loss.backward()
                for adam in adams:
                    adam.step()
                expected += [loss.item(), literal.step_h(data.images[own], labels[own])]
            assert totals == pytest.approx(expected, rel=1e-6)
    assert len(recorded.steps) == 50
    assert 10 < sum(coins) < 40
    ours = [network() for _ in networks]
    copy(run.method, trained, *ours)
    for mine, theirs in zip([trained.h, *ours], [literal.h, *networks], strict=True):
        for tensor, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(tensor, other, rtol=1e-5, atol=1e-8)


def lff_loss(lff, images, labels, own):
    """LfF's loss, before the updates that its own transcription makes."""
    ce, own = nn.CrossEntropyLoss(reduction="none"), np.array(own)
    losses = [ce(each(images), labels) for each in (lff.debiased, lff.biased)]
    averages = (lff.average_d, lff.average_b)
    for average, loss in zip(averages, losses, strict=True):
        average.update(own, loss.detach().numpy())
    d, b = (average.normalised(own) for average in averages)
    weights = torch.from_numpy(b / (b + d + 1e-8))
    return (weights * losses[0]).mean() + lff.gce(lff.biased(images), labels).mean()
