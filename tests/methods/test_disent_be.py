"""BiasEnsemble on DisEnt: all stages against a transcription, and its relation to DisEnt."""

import numpy as np
import pytest
import torch
from literal_disent_be import LiteralDisentBe
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
from small_runs import aligned_data, double_run

from debias_pipeline.methods import Task, get_method
from debias_pipeline.randomness import generator

STAGES = [*(f"biased {number}" for number in range(1, 6)), "main"]

# Fields that DisEnt does not have.
ENSEMBLE = {"ensemble", "ensemble_steps", "ensemble_confidence", "ensemble_votes"}


def recipe(**changes):
    fields = {
        "method": "disent_be", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50,
        "lambda_dis": 3, "lambda_swap_b": 2, "lambda_swap": 0.5, "swap_start": 20,
        "decay_every": 10, "gamma": 0.5, "ensemble_steps": 50,
    }  # fmt: skip
    return get_method("disent_be").recipe_type(**{**fields, **changes})


def copy_main(method, literal):
    copy_branch(method, 0, literal.encoder_i, literal.head_i)
    copy_branch(method, 1, literal.encoder_b, literal.head_b)


@pytest.mark.slow
def test_fifty_steps_of_each_stage_equal_a_literal_transcription():
    """Draws, losses, votes and parameters, across the start of swapping and two decays."""
    labels = aligned_data().splits["train"].labels
    literal, trained = (LiteralDisentBe(labels, recipe()) for _ in range(2))

    def copy_fresh_networks(stage, method):
        if stage.name == "main":
            return copy_main(method, literal)
        biased = literal.voting.ensemble[STAGES.index(stage.name)]
        return copy_network(method.voter.encoder, method.voter.head, 0, *biased)

    ours = double_run(recipe(), on_begin=copy_fresh_networks)
    shufflers = [generator(0, f"shuffle {name}".strip()) for name in ("", *STAGES[1:])]
    permuter = generator(0, "feature swap")
    images = aligned_data().images
    expected = list(literal.steps(images, torch.from_numpy(labels), shufflers, permuter))
    assert len(expected) == 300
    assert [index for index, _ in ours.steps] == [index for index, _ in expected]
    np.testing.assert_allclose([x for _, x in ours.steps], [x for _, x in expected], rtol=1e-6)
    assert ours.method._votes[0].tolist() == literal.voting.marks
    assert 0 < len(literal.voting.aligned) < IMAGES
    copy_main(ours.method, trained)
    for part in ("encoder_i", "encoder_b", "head_i", "head_b"):
        state = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, state[name], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("step", [0, 30])
def test_with_all_images_aligned_it_is_disent_with_plain_cross_entropy(step):
    random = np.random.default_rng(1)
    labels, images = labels_of(random), images_of(random)
    of_disent = recipe().model_dump(exclude=ENSEMBLE)
    disent_type = get_method("disent")
    disent = disent_type(
        disent_type.recipe_type(**{**of_disent, "method": "disent"}), Task(SHAPE, 10, (0,))
    )
    disent.begin_training(labels)
    disent.bias_factors = lambda losses, index: torch.ones_like(losses)
    method = get_method("disent_be")(recipe(), Task(SHAPE, 10, (0,)))
    method._voting, method._votes = False, torch.full((1, IMAGES), 3)
    method.begin_training(labels)
    batch = batch_of(random, images, labels)
    ours, theirs = method.losses(batch, step), disent.losses(batch, step)
    torch.testing.assert_close(ours.total, theirs.total)
    torch.testing.assert_close(ours.weights, theirs.weights)
    for name in theirs.terms:
        torch.testing.assert_close(ours.terms[name], theirs.terms[name])
