"""RWG: its sampling, and a run against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_lff import network
from small_batches import BATCH, IMAGES, copy_network, labels_of
from small_runs import FewImages, RecordedRun, data_of
from torch import nn

from debias_pipeline.errors import UserError
from debias_pipeline.methods import Task, get_method
from debias_pipeline.randomness import generator
from training.tiny_runs import double_precision


def recipe():
    fields = {"method": "rwg", "network": "mlp", "lr": 0.01, "batch_size": BATCH, "steps": 50}
    return get_method("rwg").recipe_type(**fields)


def test_fifty_steps_equal_a_literal_transcription():
    random = np.random.default_rng(0)
    labels, bias = labels_of(random).numpy(), random.integers(0, 4, IMAGES)
    groups = list(zip(labels.tolist(), bias.tolist(), strict=True))
    weights = torch.tensor([1 / groups.count(group) for group in groups])
    literal, trained = network(), network()

    def copy(_, method):
        copy_network(method.encoder, method.head, 0, *literal)

    with double_precision():
        data = data_of(random, labels, bias)
        run = RecordedRun(recipe(), data, on_begin=copy)
        adam = torch.optim.Adam(literal.parameters(), lr=0.01)
        shuffler, drawn = generator(0, "shuffle"), []
        for index, loss in run.steps:
            if len(drawn) < BATCH:
                drawn = torch.multinomial(weights, IMAGES, True, generator=shuffler).tolist()
            taken, drawn = drawn[:BATCH], drawn[BATCH:]
            assert index == taken
            logits = literal(data.images[taken])
            expected = nn.functional.cross_entropy(logits, torch.from_numpy(labels[taken]))
            adam.zero_grad()
            expected.backward()
            adam.step()
            assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert len(run.steps) == 50
    copy_network(run.method.encoder, run.method.head, 0, *trained)
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(tensor, literal.state_dict()[name], rtol=1e-5, atol=1e-8)


def test_all_groups_with_images_are_equally_likely(monkeypatch):
    labels, bias = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([5, 5, 1, 1, 1, 0])
    monkeypatch.setattr(FewImages, "labels", lambda self, split: labels)
    monkeypatch.setattr(FewImages, "bias", lambda self, split: bias)
    method = get_method("rwg")(recipe(), Task((2, 2, 3), 3, (0, 1)))
    (sampling,) = method.begin(method.stages()[0], FewImages()).streams
    assert sampling.kind == "weights"
    for values in sampling.values:
        assert (values / values.sum()).tolist() == pytest.approx(
            [1 / 8, 1 / 8, 1 / 4, 1 / 8, 1 / 8, 1 / 4]
        )


def test_training_on_images_without_bias_labels_is_refused():
    labels = np.arange(IMAGES) % 10
    with pytest.raises(UserError, match="1 of 60 images"):
        RecordedRun(recipe(), data_of(np.random.default_rng(0), labels, [-1, *labels[1:]]))
