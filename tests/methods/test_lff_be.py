"""BiasEnsemble on LfF: its votes, its biased loss, and all stages against a transcription."""

import numpy as np
import pytest
import torch
from literal_lff_be import LiteralLffBe
from small_batches import (
    BATCH,
    IMAGES,
    SHAPE,
    batch_of,
    copy_branch,
    copy_network,
    images_of,
    labels_of,
)
from small_runs import BIAS_LOGITS, LABELS, LOGITS, aligned_data, double_run

from debias_pipeline.methods import Batch, Task, get_method
from debias_pipeline.randomness import generator
from debias_pipeline.training.run import TrainingServices

STAGES = [*(f"biased {number}" for number in range(1, 6)), "main"]


def recipe(**changes):
    fields = {"method": "lff_be", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    fields |= {"ensemble_steps": 50}
    return get_method("lff_be").recipe_type(**{**fields, **changes})


def run(seeds=(0,), on_begin=lambda stage, method: None, **changes):
    return double_run(recipe(**changes), seeds, on_begin)


@pytest.mark.slow
def test_fifty_steps_of_each_stage_equal_a_literal_transcription():
    """Draws, losses, votes and parameters of all networks."""
    labels = aligned_data().splits["train"].labels
    literal, trained = (LiteralLffBe(labels, recipe()) for _ in range(2))

    def copy_fresh_networks(stage, method):
        if stage.name == "main":
            return copy_main(method, literal)
        number = STAGES.index(stage.name)
        copy_network(method.voter.encoder, method.voter.head, 0, *literal.ensemble[number])
        return None

    ours = run(on_begin=copy_fresh_networks)
    shufflers = [generator(0, f"shuffle {name}") for name in ("", *STAGES[1:])]
    shufflers[0] = generator(0, "shuffle")
    expected = list(literal.steps(aligned_data().images, torch.from_numpy(labels), shufflers))
    assert len(expected) == 300
    assert [index for index, _ in ours.steps] == [index for index, _ in expected]
    np.testing.assert_allclose([x for _, x in ours.steps], [x for _, x in expected], rtol=1e-6)
    assert ours.method._votes[0].tolist() == literal.marks
    # The votes tell images apart, so that they were worth comparing.
    assert 0 < len(literal.aligned) < IMAGES
    copy_main(ours.method, trained)
    for part in ("debiased", "biased"):
        state = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, state[name], rtol=1e-5, atol=1e-8)


def copy_main(method, literal):
    copy_branch(method, 0, *literal.debiased)
    copy_branch(method, 1, *literal.biased)


def in_main_stage(of_recipe, shape, votes, labels, classes):
    method = get_method("lff_be")(of_recipe, Task(shape, classes, (0,)))
    method._voting, method._votes = False, torch.as_tensor(votes).unsqueeze(0)
    method.begin_training(labels)
    return method


def losses_of_few_images(monkeypatch, votes):
    method = in_main_stage(recipe(), (2, 2, 3), votes, LABELS, 3)
    logits = torch.stack([LOGITS, BIAS_LOGITS]).unsqueeze(0).requires_grad_()
    monkeypatch.setattr(method, "branch_logits", lambda images: logits)
    batch = Batch(torch.zeros(1, 4, 3, 2, 2), LABELS.unsqueeze(0), torch.arange(4).unsqueeze(0))
    return method.losses(batch, 0)


def test_a_step_gives_the_values_of_the_published_arithmetic(monkeypatch):
    losses = losses_of_few_images(monkeypatch, [3, 2, 5, 0])
    assert losses.terms["loss_bias"].item() == pytest.approx(0.304263, abs=1e-6)
    assert losses.terms["loss_intrinsic"].item() == pytest.approx(0.265814, abs=1e-6)
    assert losses.weights[0].tolist() == pytest.approx([0.5, 0.5, 0.616552, 0.5], abs=1e-6)
    assert losses.total.item() == pytest.approx(0.304263 + 0.265814, abs=2e-6)


def test_a_batch_without_aligned_images_has_no_biased_loss(monkeypatch):
    losses = losses_of_few_images(monkeypatch, [2, 0, 1, 0])
    assert losses.terms["loss_bias"].item() == 0
    assert losses.total.item() == losses.terms["loss_intrinsic"].item() > 0


def test_with_all_images_aligned_it_is_lff_with_plain_cross_entropy():
    random = np.random.default_rng(1)
    labels, images = labels_of(random), images_of(random)
    lff = get_method("lff")(recipe(method="lff"), Task(SHAPE, 10, (0,)))
    lff.begin_training(labels)
    lff.bias_factors = lambda losses, index: torch.ones_like(losses)
    method = in_main_stage(recipe(), SHAPE, [3] * IMAGES, labels, 10)
    for step in range(3):
        batch = batch_of(random, images, labels)
        ours, theirs = method.losses(batch, step), lff.losses(batch, step)
        torch.testing.assert_close(ours.total, theirs.total)
        torch.testing.assert_close(ours.weights, theirs.weights)
        ours.total.sum().backward(), theirs.total.sum().backward()
    for part in ("encoder", "heads"):
        pairs = zip(
            getattr(method, part).parameters(), getattr(lff, part).parameters(), strict=True
        )
        for mine, other in pairs:
            torch.testing.assert_close(mine.grad, other.grad)


def test_every_network_of_the_ensemble_is_fresh_and_the_main_networks_wait_untrained():
    states = {}
    run(
        on_begin=lambda stage, method: states.update({stage.name: method.replica_state(0)}),
        ensemble_steps=2,
        steps=1,
    )
    assert list(states) == STAGES
    first = states["biased 1"]
    name = "voter.head.weight"
    assert len({states[stage][name].sum().item() for stage in STAGES[:5]}) == 5
    for stage in STAGES:
        for main in ("heads.weight", "encoder.first.weight"):
            assert torch.equal(states[stage][main], first[main])


def test_a_confidence_that_bfloat16_does_not_have_is_reached_in_mixed_precision(monkeypatch):
    method_type = get_method("lff_be")
    method = method_type(recipe(ensemble_confidence=0.999), Task(SHAPE, 10, (0,)))
    # The first label has a probability of 0.9996.
    logits = 10 * torch.eye(10)[:1].expand(1, IMAGES, 10)
    monkeypatch.setattr(method_type, "_voter_logits", lambda *_: logits.bfloat16())
    data = aligned_data()
    services = TrainingServices(method, data, "bf16")
    stages = method.stages()
    method.begin(stages[0], services)
    method.end(stages[0], services)
    expected = torch.from_numpy(data.splits["train"].labels == 0)
    assert torch.equal(method._votes[0].bool(), expected)


def test_votes_are_cast_on_augmented_images_that_differ_from_network_to_network(monkeypatch):
    seen = []
    method_type = get_method("lff_be")
    logits = method_type._voter_logits

    def recorded(self, images):
        if not self.training:
            seen.append(images.clone())
        return logits(self, images)

    monkeypatch.setattr(method_type, "_voter_logits", recorded)
    run(flip=True, ensemble_steps=1, steps=1, seeds=(0, 1))
    assert [each.shape[:2] for each in seen] == [(2, IMAGES)] * 5
    assert not any(torch.equal(each[0], each[1]) for each in seen)
    assert not any(torch.equal(seen[0], each) for each in seen[1:])


@pytest.mark.slow
def test_seeds_with_aligned_images_of_their_own_train_together_as_alone():
    short = {"ensemble_steps": 10, "ensemble_confidence": 0.3, "steps": 10}
    together = run(seeds=(0, 1), **short)
    assert not torch.equal(*together.method._votes)
    for replica in range(2):
        alone = run(seeds=(replica,), **short)
        assert torch.equal(alone.method._votes[0], together.method._votes[replica])
        expected = alone.method.replica_state(0)
        for name, tensor in together.method.replica_state(replica).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-9)
