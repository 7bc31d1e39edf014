"""Every pass is a fresh shuffle; every replica goes its own way, whoever else trains."""

import numpy as np
import pytest
import torch
from tiny_runs import tiny_data

from debias_pipeline.errors import UserError
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.transforms import Transform


def test_a_pass_draws_no_image_twice_and_drops_the_incomplete_batch():
    stream = BatchStream(
        tiny_data(sizes=(70, 5, 5)), seeds=[0, 1], batch_size=16, transform=Transform()
    )
    passes = [torch.cat([stream.next().index for _ in range(4)], 1) for _ in range(3)]
    for drawn in passes:
        assert drawn.shape == (2, 64)
        assert all(len(replica.unique()) == 64 for replica in drawn)
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0][0], passes[0][1])


def test_over_many_passes_every_image_is_drawn():
    stream = BatchStream(
        tiny_data(sizes=(70, 5, 5)), seeds=[0], batch_size=16, transform=Transform()
    )
    drawn = torch.cat([stream.next().index for _ in range(4 * 30)], 1)
    assert len(drawn.unique()) == 70


def test_a_seed_draws_the_same_alone_and_among_others():
    data = tiny_data()
    alone = BatchStream(data, seeds=[5], batch_size=16, transform=Transform())
    among = BatchStream(data, seeds=[3, 5, 9], batch_size=16, transform=Transform())
    for _ in range(10):
        assert torch.equal(alone.next().index[0], among.next().index[1])


def test_images_and_labels_are_those_of_the_index():
    data = tiny_data()
    batch = BatchStream(data, seeds=[0, 1], batch_size=16, transform=Transform()).next()
    train = data.splits["train"]
    assert batch.images.shape == (2, 16, 3, 6, 6)
    for replica in range(2):
        index = batch.index[replica].numpy()
        np.testing.assert_array_equal(batch.labels[replica], train.labels[index])
        pixels = data.images[train.rows[batch.index[replica]]].permute(0, 3, 1, 2)
        assert torch.equal(batch.images[replica], pixels)


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(UserError, match=r"batch_size=65 is larger than the training split \(64"):
        BatchStream(tiny_data(), seeds=[0], batch_size=65, transform=Transform())
