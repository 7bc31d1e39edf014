"""DebiAN: its losses, its modes, and all updates against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_debian import LiteralDebian
from small_batches import BATCH, IMAGES, SHAPE, batch_of, copy_network, images_of, labels_of
from small_runs import aligned_data, double_run

from debias_pipeline.methods import Batch, Task, get_method
from debias_pipeline.randomness import generator
from training.tiny_runs import double_precision


def recipe(**changes):
    fields = {"method": "debian", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method("debian").recipe_type(**{**fields, **changes})


def copy(method, literal):
    copy_network(method.encoder, method.head, 0, *literal.classifier)
    copy_network(method.discoverer.encoder, method.discoverer.head, 0, *literal.discoverer)


class Order:
    """Batches of one stream."""

    def __init__(self, name):
        self.shuffler, self.left = generator(0, name), []

    def next(self):
        if len(self.left) < BATCH:
            self.left = torch.randperm(IMAGES, generator=self.shuffler).tolist()
        drawn, self.left = self.left[:BATCH], self.left[BATCH:]
        return drawn


@pytest.mark.slow
def test_fifty_steps_equal_a_literal_transcription():
    """Draws of both streams, losses of both networks and their parameters."""
    of_recipe = recipe(penalty=0.5)
    literal, trained = LiteralDebian(of_recipe), LiteralDebian(of_recipe)
    discoverer_losses = []

    def begin(_, method):
        copy(method, literal)
        inner = method.discoverer_losses

        def recorded(batch):
            result = inner(batch)
            discoverer_losses.append((batch.index[0].tolist(), result.total.item()))
            return result

        method.discoverer_losses = recorded

    run = double_run(of_recipe, on_begin=begin)
    data, orders = aligned_data(), (Order("shuffle"), Order("shuffle 1"))
    labels = torch.from_numpy(data.splits["train"].labels)
    with double_precision():
        literal.start_optimisers()
        steps = list(zip(run.steps, discoverer_losses, strict=True))
        for updates in steps:
            parts = (literal.classifier_step, literal.discoverer_step)
            for (index, loss), order, step in zip(updates, orders, parts, strict=True):
                assert index == order.next()
                assert loss == pytest.approx(step(data.images[index], labels[index]), rel=1e-6)
    assert len(steps) == 50
    copy(run.method, trained)
    for part in ("classifier", "discoverer"):
        expected = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            # The logarithm of small differences amplifies rounding.
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_seeds_train_together_as_alone_in_double_precision():
    together = double_run(recipe(), seeds=(0, 1)).method
    for replica in range(2):
        expected = double_run(recipe(), seeds=(replica,)).method.replica_state(0)
        for name, tensor in together.replica_state(replica).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def few_images(monkeypatch, outputs):
    """A method whose networks give fixed outputs for four images, and their batch."""
    method = get_method("debian")(recipe(), Task((2, 2, 3), 2, (0,)))
    labels = torch.tensor([[0, 0, 1, 1]])
    probabilities = torch.tensor([0.9, 0.4, 0.8, 0.3])
    of_labels = torch.stack([probabilities, 1 - probabilities], 1)
    of_labels[2:] = of_labels[2:].flip(1)
    monkeypatch.setattr(method, "predict", lambda images: of_labels.log().unsqueeze(0))
    outputs = torch.tensor(outputs).view(1, 4, 1).expand(-1, -1, 2).clone().requires_grad_()
    monkeypatch.setattr(method.discoverer, "forward", lambda images: outputs)
    return method, Batch(torch.zeros(1, 4, 3, 2, 2), labels, torch.arange(4).unsqueeze(0))


def test_a_step_gives_the_values_of_the_published_arithmetic(monkeypatch):
    method, batch = few_images(monkeypatch, [0.5, -1.0, 2.0, 0.0])
    weights = method.losses(batch, 0).weights
    assert weights[0].tolist() == pytest.approx([1.377541, 1.731059, 1.119203, 1.5], abs=1e-6)
    total = method.discoverer_losses(batch).total
    assert total.item() == pytest.approx(3.223070 + 0.594281, abs=5e-6)


def test_with_a_constant_discoverer_all_images_have_the_same_weight(monkeypatch):
    method, batch = few_images(monkeypatch, [0.0] * 4)
    assert method.losses(batch, 0).weights[0].tolist() == pytest.approx([1.5] * 4)


def test_a_class_with_one_image_in_the_batch_gives_small_gradients(monkeypatch):
    method, batch = few_images(monkeypatch, [0.5, -1.0, 2.0, 0.0])
    outputs = method.discoverer.forward(None)
    alone = Batch(batch.images, torch.tensor([[0, 0, 0, 1]]), batch.index)
    (gradient,) = torch.autograd.grad(method.discoverer_losses(alone).total.sum(), outputs)
    assert gradient.isfinite().all()
    assert gradient[0, 3].abs().max() < 10


def test_the_network_that_is_not_updated_is_in_eval_mode_and_does_not_change():
    random = np.random.default_rng(1)
    method = get_method("debian")(recipe(network="resnet20"), Task(SHAPE, 10, (0,)))
    images, labels = images_of(random) / 50, labels_of(random)
    statistics = [name for name, _ in method.named_buffers() if "running" in name]
    before = {name: each.clone() for name, each in method.named_buffers()}

    def changed():
        now = dict(method.named_buffers())
        moved = {name for name in statistics if not torch.equal(now[name], before[name])}
        before.update({name: each.clone() for name, each in now.items()})
        return {"discoverer" if "discoverer" in name else "classifier" for name in moved}

    updates = method.updates([batch_of(random, images, labels) for _ in range(2)], 0)
    for trained, name in ((("encoder", "head"), "main"), (("discoverer",), "discoverer")):
        update = next(updates)
        assert update.optimisers == (name,)
        assert changed() == {"classifier" if name == "main" else "discoverer"}
        method.zero_grad()
        update.losses.total.sum().backward()
        moved = {
            key.split(".")[0] for key, each in method.named_parameters() if each.grad is not None
        }
        assert moved == set(trained)
    assert next(updates, None) is None
