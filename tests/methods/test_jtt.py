"""JTT: its error set, its up-sampling, and both stages against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_jtt import LiteralJtt
from small_batches import BATCH, IMAGES, copy_network
from small_runs import aligned_data, double_run

from debias_pipeline.methods import Sampling, get_method
from debias_pipeline.randomness import generator
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.transforms import Transform


def recipe(**changes):
    fields = {"method": "jtt", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    fields |= {"first_steps": 50, "up": 3}
    return get_method("jtt").recipe_type(**{**fields, **changes})


def run(seeds=(0,), on_begin=lambda stage, method: None, **changes):
    return double_run(recipe(**changes), seeds, on_begin)


def copy_networks(method, literal):
    copy_network(method.first_encoder, method.first_head, 0, *literal.first)
    copy_network(method.encoder, method.head, 0, *literal.second)


@pytest.mark.slow
def test_fifty_steps_of_each_stage_equal_a_literal_transcription():
    """Draws, losses, the error set and parameters of both networks."""
    literal, trained = LiteralJtt(recipe()), LiteralJtt(recipe())

    def copy_initial_weights(stage, method):
        if stage.name == "erm":
            copy_networks(method, literal)

    ours = run(on_begin=copy_initial_weights)
    data = aligned_data()
    shufflers = generator(0, "shuffle"), generator(0, "shuffle main")
    labels = torch.from_numpy(data.splits["train"].labels)
    expected = list(literal.steps(data.images, labels, *shufflers))
    assert [index for index, _ in ours.steps] == [index for index, _ in expected]
    np.testing.assert_allclose([x for _, x in ours.steps], [x for _, x in expected], rtol=1e-6)
    assert len(expected) == 100
    assert ours.method._errors[0].nonzero().flatten().tolist() == literal.errors
    assert 0 < len(literal.errors) < IMAGES
    copy_networks(ours.method, trained)
    for part in ("first", "second"):
        state = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, state[name], rtol=1e-5, atol=1e-8)


def test_an_image_of_the_error_set_is_drawn_up_times_more_in_a_pass():
    begun = {}

    def record(stage, method):
        begun[stage.name] = method._errors.clone()

    ours = run(on_begin=record, steps=60)
    errors = begun["main"][0].tolist()
    assert not begun["erm"].any()
    drawn = np.concatenate([index for index, _ in ours.steps[50:]])
    size = IMAGES + 3 * sum(errors)
    of_first_pass = np.bincount(drawn[: size - size % BATCH], minlength=IMAGES)
    wanted = np.where(errors, 4, 1)
    assert (of_first_pass <= wanted).all()
    # The last incomplete batch is dropped.
    assert (wanted - of_first_pass).sum() == size % BATCH
    assert ours.method.image_weights()[0].tolist() == wanted.tolist()
    assert ours.result.sample_weights["weight"].tolist() == wanted.tolist()


def test_without_errors_images_are_shuffled_as_by_any_other_method():
    data = aligned_data()
    once = torch.ones(1, IMAGES, dtype=torch.int64)
    counts, plain = (
        BatchStream(data, [0], sampling, Transform())
        for sampling in (Sampling(BATCH, "counts", once), Sampling(BATCH))
    )
    for _ in range(10):
        assert torch.equal(counts.next().index, plain.next().index)


def test_the_first_network_is_the_bias_branch_and_the_second_predicts():
    method = run(steps=1).method
    images = torch.rand(1, 3, 3, 28, 28, dtype=torch.float64)
    predicted, of_bias = method.predict_branches(images)
    assert torch.equal(predicted, method.predict(images))
    expected = method.first_head(method.first_encoder(images))[:, 0]
    assert torch.equal(of_bias, expected)


def test_each_stage_moves_its_own_network_only():
    states = []
    ours = run(on_begin=lambda stage, method: states.append(method.replica_state(0)))
    states.append(ours.method.replica_state(0))
    before, between, after = states
    for name in before:
        changed_in_first = name.startswith("first_")
        assert torch.equal(before[name], between[name]) != changed_in_first
        assert torch.equal(between[name], after[name]) == changed_in_first


@pytest.mark.slow
def test_seeds_with_error_sets_of_their_own_train_together_as_alone():
    together = run(seeds=(0, 1), steps=20)
    sizes = together.method._errors.sum(1).tolist()
    assert len(set(sizes)) > 1
    for replica in range(2):
        alone = run(seeds=(replica,), steps=20)
        assert torch.equal(alone.method._errors[0], together.method._errors[replica])
        expected = alone.method.replica_state(0)
        for name, tensor in together.method.replica_state(replica).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("field", ["first_steps", "up"])
def test_both_fields_have_to_be_given(field):
    fields = recipe().model_dump()
    del fields[field]
    with pytest.raises(ValueError, match=field):
        get_method("jtt").recipe_type(**fields)
