"""Runs that are compared take their steps in turn, and one that fails stops nobody."""

import numpy as np
import pytest
import torch
from benchmarks.alternating import step_times
from benchmarks.flat_in_n import repeated
from benchmarks.larger_than_memory import per_turn
from benchmarks.steps import random_data

from debias_pipeline.methods import Sampling
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.transforms import Transform


def test_runs_take_turns_of_a_block_each():
    order = []

    def run(name, steps):
        def take_steps(listener):
            for _ in range(steps):
                order.append(name)
                listener.on_step()

        return take_steps

    times = step_times({"a": run("a", 4), "b": run("b", 6)}, block=2, warm_up=1)
    assert "".join(order) == "aabbaabbbb"
    # The first step of a run has no beginning that the listener heard of.
    assert {name: len(each) for name, each in times.items()} == {"a": 2, "b": 4}


def test_a_run_that_fails_is_told_once_the_others_are_done():
    done = []

    def fail(_):
        raise ValueError("no such recipe")

    with pytest.raises(ValueError, match="no such recipe"):
        step_times({"a": fail, "b": lambda _: done.append("b")}, block=1, warm_up=0)
    assert done == ["b"]


def test_repeated_images_are_the_same_pixels_under_more_ids():
    data = random_data(4, splits={"train": 20, "valid": 2, "test": 2})
    longer = repeated(data, 3)
    assert longer.images is data.images
    assert len(longer.splits["train"]) == 60
    batch = BatchStream(longer, [0], Sampling(60), Transform()).next()
    positions = batch.index[0] % 20
    np.testing.assert_array_equal(batch.labels[0], data.splits["train"].labels[positions])
    expected = Transform().for_training(data.gather(positions), [torch.Generator()])
    assert torch.equal(batch.images[0], expected)


def test_turns_are_averaged_whole():
    assert per_turn([1.0, 3.0, 5.0, 7.0, 100.0], 2) == [2.0, 6.0]
