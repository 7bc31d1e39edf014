"""EnD: its two terms, and the whole step against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_end import LiteralEnd
from small_batches import BATCH, IMAGES, SHAPE, batch_of, copy_network, images_of, labels_of
from small_runs import RecordedRun, data_of

from debias_pipeline.errors import UserError
from debias_pipeline.methods import Task, get_method
from training.tiny_runs import double_precision

FEATURES = torch.tensor([[1, 0], [0.6, 0.8], [0, 1], [-0.8, 0.6], [0.8, 0.6]])


def recipe(**changes):
    fields = {"method": "end", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method("end").recipe_type(**{**fields, "alpha": 1, "beta": 1, **changes})


def copy(method, network):
    copy_network(method.encoder, method.head, 0, *network)


@pytest.mark.slow
def test_fifty_steps_equal_a_literal_transcription():
    random = np.random.default_rng(0)
    labels, bias = labels_of(random).numpy(), random.integers(0, 4, IMAGES)
    of_recipe = recipe(alpha=0.7, beta=1.5)
    literal, trained = LiteralEnd(of_recipe), LiteralEnd(of_recipe)
    with double_precision():
        data = data_of(random, labels, bias)
        run = RecordedRun(of_recipe, data, on_begin=lambda _, method: copy(method, literal.network))
        literal.start_optimiser()
        for index, loss in run.steps:
            expected = literal.step(
                data.images[index], torch.from_numpy(labels[index]), bias[index].tolist()
            )
            assert loss == pytest.approx(expected, rel=1e-6)
    assert len(run.steps) == 50
    copy(run.method, trained.network)
    expected = literal.network.state_dict()
    for name, tensor in trained.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-8)


def terms(labels, bias):
    method = get_method("end")(recipe(), Task((2, 2, 3), 2, (0,)))
    method._values = torch.arange(max(bias) + 1)
    features = FEATURES[: len(labels)].unsqueeze(0)
    given = (torch.tensor([labels]), torch.tensor([bias]))
    return [each.item() for each in method._regularisers(features, *given)]


def test_the_terms_have_the_values_of_the_published_arithmetic():
    assert terms([0, 0, 1, 1, 0], [0, 1, 1, 0, 1]) == pytest.approx([0.79, 0.2])


@pytest.mark.parametrize(
    ("labels", "bias", "expected"),
    [([0, 0], [1, 0], [0, 0.2]), ([0, 0], [1, 1], [0.6, 0]), ([0, 1], [1, 0], [0, 0])],
)
def test_a_term_without_pairs_is_zero(labels, bias, expected):
    assert terms(labels, bias) == pytest.approx(expected)


def test_without_both_terms_the_gradients_are_those_of_cross_entropy():
    random = np.random.default_rng(1)
    labels, images = labels_of(random), images_of(random)
    method = get_method("end")(recipe(alpha=0, beta=0), Task(SHAPE, 10, (0,)))
    method._bias, method._values = torch.arange(IMAGES) % 3, torch.arange(3)
    batch = batch_of(random, images, labels)
    losses = method.losses(batch, 0)
    expected = torch.nn.functional.cross_entropy(method.predict(batch.images)[0], batch.labels[0])
    torch.testing.assert_close(losses.total[0], expected)
    assert losses.terms["loss_disentangling"] > 0


def test_training_on_images_without_bias_labels_is_refused():
    labels = np.arange(IMAGES) % 10
    with pytest.raises(UserError, match="1 of 60 images"):
        RecordedRun(recipe(), data_of(np.random.default_rng(0), labels, [-1, *labels[1:]]))
