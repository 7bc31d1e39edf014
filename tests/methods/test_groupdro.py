"""GroupDRO: its group weights, its sampling, and the whole step against a transcription."""

import numpy as np
import pytest
import torch
from literal_groupdro import LiteralGroupDro
from small_batches import BATCH, IMAGES, SHAPE, batch_of, copy_network, images_of, labels_of
from small_runs import BIAS, LABELS, LOGITS, FewImages, RecordedRun, data_of

from debias_pipeline.errors import UserError
from debias_pipeline.methods import Batch, Task, get_method
from debias_pipeline.randomness import generator
from training.tiny_runs import double_precision


def recipe(**changes):
    fields = {"method": "groupdro", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method("groupdro").recipe_type(**{**fields, **changes})


def few_images(**changes):
    """A method that has begun with the four images, and their batch."""
    method = get_method("groupdro")(recipe(**changes), Task((2, 2, 3), 3, (0, 1)))
    plan = method.begin(method.stages()[0], FewImages())
    index = torch.arange(4).expand(2, -1)
    return method, plan, Batch(torch.zeros(2, 4, 3, 2, 2), LABELS.expand(2, -1), index)


def copy(method, network):
    copy_network(method.encoder, method.head, 0, *network)


# The adjustment is defined where every group has images: two here, of each of 10 × 3.
@pytest.mark.parametrize("case", ["groups without images", "adjusted"])
def test_fifty_steps_equal_a_literal_transcription(case):
    """Draws, losses, group weights and parameters."""
    random = np.random.default_rng(0)
    adjusted = case == "adjusted"
    labels = np.arange(IMAGES) % 10 if adjusted else labels_of(random).numpy()
    bias = np.arange(IMAGES) // 10 % 3 if adjusted else random.integers(0, 4, IMAGES)
    of_recipe = recipe(eta=0.1, adjustment=2 if adjusted else 0)
    literal, trained = (LiteralGroupDro(labels, bias.tolist(), of_recipe) for _ in range(2))
    assert (0 in literal.sizes) != adjusted
    with double_precision():
        data = data_of(random, labels, bias)
        run = RecordedRun(of_recipe, data, on_begin=lambda _, method: copy(method, literal.network))
        literal.start_optimiser(of_recipe.lr)
        shuffler, drawn = generator(0, "shuffle"), []
        for index, loss in run.steps:
            if len(drawn) < BATCH:
                drawn = literal.draw(shuffler)
            taken, drawn = drawn[:BATCH], drawn[BATCH:]
            assert index == taken
            expected = literal.step(data.images[taken], torch.from_numpy(labels[taken]), taken)
            assert loss == pytest.approx(expected, rel=1e-6)
    assert len(run.steps) == 50
    np.testing.assert_allclose(run.method._q[0], literal.q, rtol=1e-6)
    # q has moved, so that it was worth comparing.
    assert max(literal.q) > 1.1 * min(literal.q)
    copy(run.method, trained.network)
    expected = literal.network.state_dict()
    for name, tensor in trained.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-8)


def test_a_step_gives_the_value_of_the_published_arithmetic(monkeypatch):
    method, _, batch = few_images()
    monkeypatch.setattr(method, "predict", lambda images: LOGITS.expand(2, -1, -1))
    total = method.losses(batch, 0).total
    assert total.tolist() == pytest.approx([0.232918] * 2, abs=2e-6)
    assert method._q[0, 0].item() == pytest.approx(0.111306, abs=1e-6)
    present = (LABELS * 3 + BIAS).tolist()
    absent = [q for group, q in enumerate(method._q[0].tolist()) if group not in present]
    assert absent == pytest.approx([0.110853] * 5, abs=1e-6)


def test_with_one_group_it_is_empirical_risk_minimisation():
    random = np.random.default_rng(1)
    labels, images = labels_of(random), images_of(random)
    method = get_method("groupdro")(recipe(adjustment=0), Task(SHAPE, 10, (0,)))
    method._groups, method._numbers = torch.zeros(IMAGES, dtype=torch.int64), torch.zeros(1)
    method._q, method._adjustments = torch.ones(1, 1), torch.zeros(1)
    vanilla = get_method("vanilla")(recipe(), Task(SHAPE, 10, (0,)))
    for step in range(3):
        batch = batch_of(random, images, labels)
        ours, theirs = method.losses(batch, step).total, vanilla.losses(batch, step).total
        torch.testing.assert_close(ours, theirs)
        ours.sum().backward(), theirs.sum().backward()
    for mine, other in zip(method.parameters(), vanilla.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_images_are_drawn_in_inverse_proportion_to_the_size_of_their_group(monkeypatch):
    monkeypatch.setattr(FewImages, "labels", lambda self, split: torch.tensor([0, 0, 0, 1]))
    monkeypatch.setattr(FewImages, "bias", lambda self, split: torch.tensor([0, 0, 0, 1]))
    (sampling,) = few_images()[1].streams
    assert sampling.kind == "weights"
    for values in sampling.values:
        assert (values / values[3]).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_a_group_without_training_images_is_not_adjusted():
    method, *_ = few_images(adjustment=2)
    of_groups = dict(enumerate(method._adjustments.tolist()))
    present = (LABELS * 3 + BIAS).tolist()
    assert of_groups == {group: 2 * (group in present) for group in range(9)}


def test_group_weights_are_no_part_of_a_checkpoint():
    method, *_ = few_images()
    assert all(name.startswith(("encoder.", "head.")) for name in method.replica_state(0))


def test_training_on_images_without_bias_labels_is_refused():
    labels = np.arange(IMAGES) % 10
    with pytest.raises(UserError, match="1 of 60 images") as refused:
        RecordedRun(recipe(), data_of(np.random.default_rng(0), labels, [-1, *labels[1:]]))
    assert all(each in str(refused.value) for each in ("train split", "bias label", "groupdro"))
