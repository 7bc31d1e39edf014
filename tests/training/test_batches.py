"""Every pass is a fresh shuffle; every replica goes its own way, whoever else trains."""

import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny_data, tiny_method, tiny_recipe

from debias_pipeline.errors import UserError
from debias_pipeline.images.memory import ReadAhead
from debias_pipeline.methods import Sampling
from debias_pipeline.training import train
from debias_pipeline.training.batches import BATCHES_AHEAD, BatchStream
from debias_pipeline.transforms import Transform


def test_a_pass_draws_no_image_twice_and_drops_the_incomplete_batch():
    stream = BatchStream(
        tiny_data(sizes=(70, 5, 5)), seeds=[0, 1], sampling=Sampling(16), transform=Transform()
    )
    passes = [torch.cat([stream.next().index for _ in range(4)], 1) for _ in range(3)]
    for drawn in passes:
        assert drawn.shape == (2, 64)
        assert all(len(replica.unique()) == 64 for replica in drawn)
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0][0], passes[0][1])


def test_over_many_passes_every_image_is_drawn():
    stream = BatchStream(
        tiny_data(sizes=(70, 5, 5)), seeds=[0], sampling=Sampling(16), transform=Transform()
    )
    drawn = torch.cat([stream.next().index for _ in range(4 * 30)], 1)
    assert len(drawn.unique()) == 70


def test_a_seed_draws_the_same_alone_and_among_others():
    data = tiny_data()
    alone = BatchStream(data, seeds=[5], sampling=Sampling(16), transform=Transform())
    among = BatchStream(data, seeds=[3, 5, 9], sampling=Sampling(16), transform=Transform())
    for _ in range(10):
        assert torch.equal(alone.next().index[0], among.next().index[1])


def test_images_and_labels_are_those_of_the_index():
    data = tiny_data()
    batch = BatchStream(data, seeds=[0, 1], sampling=Sampling(16), transform=Transform()).next()
    train = data.splits["train"]
    assert batch.images.shape == (2, 16, 3, 6, 6)
    for replica in range(2):
        index = batch.index[replica].numpy()
        np.testing.assert_array_equal(batch.labels[replica], train.labels[index])
        pixels = data.images[train.rows[batch.index[replica]]].permute(0, 3, 1, 2)
        assert torch.equal(batch.images[replica], pixels)


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(UserError, match=r"batch_size=65 is larger .*64"):
        BatchStream(tiny_data(), seeds=[0], sampling=Sampling(65), transform=Transform())


def on_disk(data, gather=None):
    """The same data as if memory could not hold it."""
    elsewhere = replace(data, read_ahead=ReadAhead(data.images.numpy()))
    if gather is not None:
        object.__setattr__(elsewhere, "gather", gather)
    return elsewhere


def copied(data):
    """The same data as if the device could not hold it."""
    return replace(data, copied_to=data.images.device)


def readers():
    return {each for each in threading.enumerate() if each.name.startswith("gather")}


@pytest.fixture
def crop():
    return Transform(crop_padding=1, flip=True)


@pytest.mark.parametrize("elsewhere", [on_disk, copied])
def test_gathering_ahead_draws_the_same_bit_for_bit(crop, elsewhere):
    data = tiny_data(sizes=(70, 5, 5))
    plain = BatchStream(data, seeds=[0, 1], sampling=Sampling(16), transform=crop)
    ahead = BatchStream(elsewhere(data), seeds=[0, 1], sampling=Sampling(16), transform=crop)
    for _ in range(4 * 3 + 1):
        expected, batch = plain.next(), ahead.next()
        assert torch.equal(batch.index, expected.index)
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.labels, expected.labels)


def test_the_next_batches_are_gathered_while_one_is_trained_on(crop):
    data, gathered = tiny_data(), []
    enough = threading.Event()

    def gather(rows):
        assert threading.current_thread() in readers()
        gathered.append(rows)
        if len(gathered) == 1 + BATCHES_AHEAD:
            enough.set()
        return data.gather(rows)

    stream = BatchStream(on_disk(data, gather), seeds=[0], sampling=Sampling(16), transform=crop)
    stream.next()
    assert enough.wait(timeout=10)
    assert len(gathered) == 1 + BATCHES_AHEAD


def test_images_in_memory_need_no_thread(crop):
    # Threads of earlier tests may not have ended yet.
    before = readers()
    stream = BatchStream(tiny_data(), seeds=[0], sampling=Sampling(16), transform=crop)
    stream.next()
    assert not readers() - before


def test_what_fails_in_the_thread_surfaces_in_its_turn(crop):
    data, calls = tiny_data(), []

    def gather(rows):
        calls.append(rows)
        if len(calls) == 3:
            raise OSError("the disk is gone")
        return data.gather(rows)

    stream = BatchStream(on_disk(data, gather), seeds=[0], sampling=Sampling(16), transform=crop)
    stream.next()
    stream.next()
    with pytest.raises(OSError, match="the disk is gone"):
        stream.next()


def test_the_thread_ends_with_training():
    recipe = tiny_recipe("vanilla", steps=4, eval_every=2)
    expected = train(tiny_method(recipe, [0]), recipe, tiny_data())
    # A training of another test may have ended with an error that is still kept.
    before = readers()
    run = train(tiny_method(recipe, [0]), recipe, on_disk(tiny_data()))
    ended = time.monotonic() + 10
    while readers() - before and time.monotonic() < ended:
        time.sleep(0.01)
    assert not readers() - before
    columns = [name for name in expected.history if name != "images_per_second"]
    pd.testing.assert_frame_equal(run.history[columns], expected.history[columns])
