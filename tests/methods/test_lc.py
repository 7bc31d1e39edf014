"""LC: its matrix, its mixing, and the whole step against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_lc import LiteralLc
from small_batches import BATCH, SHAPE, batch_of, copy_network, images_of, labels_of
from small_runs import BIAS_LOGITS, LABELS, LOGITS, aligned_data, double_run

from debias_pipeline.methods import Batch, Task, get_method
from debias_pipeline.randomness import generator
from training.tiny_runs import double_precision


def recipe(**changes):
    fields = {"method": "lc", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    fields |= {"mixup_steps": 30, "alpha": 0.8}
    return get_method("lc").recipe_type(**{**fields, **changes})


def copy(method, literal):
    copy_network(method.encoder, method.head, 0, *literal.debiased)
    copy_network(method.biased.encoder, method.biased.head, 0, *literal.biased)


@pytest.mark.slow
@pytest.mark.parametrize("normalise", [False, True])
def test_fifty_steps_equal_a_literal_transcription(normalise):
    """Losses, the matrix and the parameters of both networks."""
    # f_b learns fast, so that most pseudo-attributes are not the same.
    of_recipe = recipe(normalise_columns=normalise, lr=0.05, tau=0.7, lambda_dis=2)
    literal, trained = LiteralLc(of_recipe), LiteralLc(of_recipe)
    run = double_run(of_recipe, on_begin=lambda _, method: copy(method, literal))
    data, mixer = aligned_data(), generator(0, "group mix-up")
    labels = torch.from_numpy(data.splits["train"].labels)
    with double_precision():
        literal.matrix = literal.matrix.double()
        literal.start_optimisers()
        for step, (index, loss) in enumerate(run.steps):
            uniform = torch.rand(BATCH + 1, generator=mixer)
            order = torch.randperm(BATCH, generator=mixer).tolist()
            expected = literal.step(step, data.images[index], labels[index], uniform, order)
            assert loss == pytest.approx(expected, rel=1e-6)
    assert len(run.steps) == 50
    np.testing.assert_allclose(run.method._matrix[0], literal.matrix, rtol=1e-6)
    assert len(literal.visited) > 20
    copy(run.method, trained)
    for part in ("debiased", "biased"):
        expected = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-8)


def few_images(monkeypatch, *, mixing=False, replicas=1, **changes):
    """A method on the four images, and their batch."""
    method = get_method("lc")(recipe(**changes), Task((2, 2, 3), 3, range(replicas)))
    shape = (replicas, -1, -1)
    monkeypatch.setattr(method, "predict", lambda images: LOGITS.expand(shape))
    monkeypatch.setattr(method.biased, "forward", lambda images: BIAS_LOGITS.expand(shape))
    if not mixing:
        monkeypatch.setattr(method, "mixup_ramp", lambda step: 0.0)
    index = torch.arange(4).expand(replicas, -1)
    images = torch.zeros(replicas, 4, 3, 2, 2)
    return method, Batch(images, LABELS.expand(replicas, -1), index)


@pytest.mark.parametrize(("normalise", "value"), [(False, 0.474409), (True, 0.474405)])
def test_a_step_gives_the_values_of_the_published_arithmetic(monkeypatch, normalise, value):
    method, batch = few_images(monkeypatch, normalise_columns=normalise)
    losses = method.losses(batch, 0)
    matrix = torch.zeros(3, 3)
    matrix[[0, 1, 1, 2], [0, 1, 2, 1]] = torch.tensor([0.786986, 0.691438, 0.274069, 0.045279])
    torch.testing.assert_close(method._matrix[0], matrix, rtol=0, atol=2e-6)
    assert losses.terms["loss_bias"].item() == pytest.approx(0.238920, abs=1e-6)
    assert losses.terms["loss_intrinsic"].item() == pytest.approx(value, abs=2e-6)


def test_the_share_of_partners_follows_the_published_ramp():
    method = get_method("lc")(recipe(mixup_steps=100), Task((2, 2, 3), 3, (0,)))
    ramp = [2 * method.mixup_ramp(step) for step in (0, 25, 50, 100, 200)]
    assert ramp == pytest.approx([0.006738, 0.060055, 0.286505, 1, 1], abs=1e-6)
    at_once = get_method("lc")(recipe(mixup_steps=0), Task((2, 2, 3), 3, (0,)))
    assert at_once.mixup_ramp(0) == 0.5


def test_partners_are_of_the_class_and_conflicting_if_there_are_such():
    method = get_method("lc")(recipe(mixup_steps=0), Task((2, 2, 3), 3, range(5)))
    labels = torch.tensor([0, 1, 0, 1, 0, 2, 1, 2, 0, 1]).expand(5, -1)
    attributes = torch.tensor([0, 1, 2, 1, 0, 2, 1, 2, 1, 1]).expand(5, -1)
    drawn = torch.stack([method._draw_partners(labels, attributes, 0)[0] for _ in range(50)])
    shares = torch.stack([method._draw_partners(labels, attributes, 0)[1] for _ in range(50)])
    assert set(drawn[:, :, labels[0] == 0].unique().tolist()) == {2, 8}
    for label, members in ((1, [1, 3, 6, 9]), (2, [5, 7])):
        of_class = drawn[:, :, labels[0] == label].flatten(0, 1)
        assert (of_class.sort(1).values == torch.tensor(members)).all()
        assert len(of_class.unique(dim=0)) > 1
    assert 0 <= shares.min() < 0.05 and 0.45 < shares.max() < 0.5
    # Replicas draw for themselves.
    assert not torch.equal(drawn[:, 0], drawn[:, 1])


def test_with_a_constant_matrix_the_gradients_are_those_of_cross_entropy(monkeypatch):
    random = np.random.default_rng(1)
    labels, images = labels_of(random), images_of(random)
    method = get_method("lc")(recipe(), Task(SHAPE, 10, (0,)))
    vanilla = get_method("vanilla")(recipe(), Task(SHAPE, 10, (0,)))
    monkeypatch.setattr(method, "mixup_ramp", lambda step: 0.0)
    monkeypatch.setattr(method, "_corrections", lambda attributes: torch.full((1, BATCH, 10), 0.3))
    batch = batch_of(random, images, labels)
    method.losses(batch, 0).total.sum().backward()
    vanilla.losses(batch, 0).total.sum().backward()
    for part in ("encoder", "head"):
        pairs = zip(
            getattr(method, part).parameters(), getattr(vanilla, part).parameters(), strict=True
        )
        for mine, other in pairs:
            torch.testing.assert_close(mine.grad, other.grad)


def test_the_matrix_is_no_part_of_a_checkpoint():
    method = get_method("lc")(recipe(), Task(SHAPE, 10, (0,)))
    assert {name.split(".")[0] for name in method.replica_state(0)} == {"encoder", "head", "biased"}
