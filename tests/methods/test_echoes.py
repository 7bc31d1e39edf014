"""Echoes: its weights, and the whole step against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_echoes import LiteralEchoes
from small_batches import BATCH, IMAGES, SHAPE, batch_of, copy_network, images_of, labels_of
from small_runs import aligned_data, double_run

from debias_pipeline.methods import Task, get_method
from training.tiny_runs import double_precision

PASS = IMAGES // BATCH


def recipe(**changes):
    fields = {"method": "echoes", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method("echoes").recipe_type(**{**fields, **changes})


def copy(method, literal):
    copy_network(method.encoder, method.head, 0, *literal.debiased)
    copy_network(method.biased.encoder, method.biased.head, 0, *literal.biased)


@pytest.mark.slow
def test_fifty_steps_equal_a_literal_transcription():
    """Losses, both weights and the parameters of both networks."""
    data = aligned_data()
    labels = torch.from_numpy(data.splits["train"].labels)
    of_recipe = recipe(lr=0.001, alpha=0.7, error_threshold=1, weight_decay=0.001)
    literal, trained = LiteralEchoes(of_recipe, labels), LiteralEchoes(of_recipe, labels)
    run = double_run(of_recipe, on_begin=lambda _, method: copy(method, literal))
    with double_precision():
        literal.start_optimisers()
        for step, (index, loss) in enumerate(run.steps, 1):
            expected = literal.step(data.images[index], labels[index], index)
            assert loss == pytest.approx(expected, rel=1e-6)
            if step % PASS == 0:
                literal.end_of_epoch(data.images)
    assert len(run.steps) == 50
    np.testing.assert_allclose(run.method._bias_weights[0], literal.w_b, rtol=1e-6)
    np.testing.assert_allclose(run.method._weights[0], literal.w_d, rtol=1e-6)
    assert len({round(each, 6) for each in literal.w_b}) > 2
    copy(run.method, trained)
    for part in ("debiased", "biased"):
        expected = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-8)


class SixImages:
    """What Echoes asks of a run; f_b gets the given images right."""

    def __init__(self, *correct):
        self.correct = torch.tensor(correct, dtype=torch.bool)

    def labels(self, split):
        return torch.tensor([0, 0, 0, 1, 1, 1])

    def sweep(self, function):
        labels = self.labels("train")
        return torch.where(self.correct, labels, 1 - labels)


def test_weights_have_the_values_of_the_published_arithmetic():
    """And each replica has its own."""
    run = SixImages([1, 1, 0, 1, 0, 0], [1] * 6)
    method = get_method("echoes")(recipe(batch_size=3), Task((2, 2, 3), 2, (0, 1)))
    (stage,) = method.stages()
    method.begin(stage, run)
    method.on_interval(stage, 1, run)
    assert not method.image_weights().any()
    method.on_interval(stage, 2, run)
    ones = [1] * 6
    assert method._bias_weights.tolist() == [
        pytest.approx([1, 1, 0.5, 1, 1, 1]),
        pytest.approx(ones),
    ]
    expected = [0.5, 0.5, 1, 2 / 3, 2 / 3, 2 / 3]
    assert method.image_weights().tolist() == [pytest.approx(expected), pytest.approx(ones)]
    # Weights are reduced again; those of a class with too many errors are not.
    method.on_interval(stage, 4, run)
    assert method._bias_weights[0].tolist() == pytest.approx([1, 1, 0.25, 1, 1, 1])


def begun(**changes):
    random = np.random.default_rng(1)
    method = get_method("echoes")(recipe(**changes), Task(SHAPE, 10, (0,)))
    images, labels = images_of(random) / 50, labels_of(random)

    class Run:
        def labels(self, split):
            return labels

    method.begin(method.stages()[0], Run())
    return method, batch_of(random, images, labels)


def test_only_the_bias_branch_is_updated_in_the_first_pass_and_it_is_in_eval_mode_afterwards():
    method, batch = begun(network="resnet20")
    untouched = [each.clone() for each in method.encoder.buffers()]
    for step in range(PASS + 1):
        (update,) = method.updates([batch], step)
        in_first_pass = step < PASS
        assert set(update.optimisers) == ({"bias"} if in_first_pass else {"main", "bias"})
        assert method.biased.training == in_first_pass
        assert method.encoder.training
        same = all(map(torch.equal, untouched, method.encoder.buffers()))
        assert same == in_first_pass


def test_with_equal_weights_the_debiased_branch_has_the_gradients_of_vanilla():
    method, batch = begun()
    method._weights.fill_(1)
    vanilla = get_method("vanilla")(recipe(), Task(SHAPE, 10, (0,)))
    method.losses(batch, PASS).total.sum().backward()
    vanilla.losses(batch, 0).total.sum().backward()
    ours = dict(method.named_parameters())
    for name, parameter in vanilla.named_parameters():
        torch.testing.assert_close(ours[name].grad, 1000 * parameter.grad)


def test_weights_are_no_part_of_a_checkpoint():
    method, _ = begun()
    assert {name.split(".")[0] for name in method.replica_state(0)} == {"encoder", "head", "biased"}
