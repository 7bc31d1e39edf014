"""A training step reads nothing back from the device: on a GPU each such read waits for it.

So do copies to the device, unless they are made `non_blocking`. The guard is shown to fire for
every way of waiting; then it watches real steps of every method.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from tiny_runs import SHAPE, augmented, steps_before_main, tiny_data, tiny_method, tiny_recipe
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from debias_pipeline.methods import Task, get_method, method_names
from debias_pipeline.training import train

aten = torch.ops.aten

# Operators that need a value or a size from the device.
READING_OPERATORS = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.nonzero,
    aten.masked_select,
    aten.bincount,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
}
INDEXING_OPERATORS = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
# On the CPU these do nothing that an operator would show.
READING_METHODS = {
    torch.Tensor.cpu,
    torch.Tensor.numpy,
    torch.Tensor.tolist,
    torch.Tensor.__array__,
    torch.Tensor.__dlpack__,
    torch.Tensor.__repr__,
}


class HostReadError(Exception):
    """Something was read from the device."""


class _Operators(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in READING_OPERATORS:
            raise HostReadError(str(function))
        if function.overloadpacket in INDEXING_OPERATORS and _by_mask(args[1]):
            raise HostReadError(f"{function} by a mask")
        return function(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in READING_METHODS:
            raise HostReadError(str(function))
        if function is torch.Tensor.to:
            self._check_copy([*args[1:], kwargs.get("device")], kwargs.get("non_blocking", False))
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            raise HostReadError(f"{function.__name__} copies to the device and waits")
        return function(*args, **kwargs)

    @staticmethod
    def _check_copy(given, non_blocking):
        # A device that is named: `data.device` is the host in this test, but not on a GPU.
        if "cpu" in given:
            raise HostReadError("Tensor.to the host")
        if not non_blocking and any(isinstance(each, torch.device) for each in given):
            raise HostReadError("Tensor.to a device waits")


def _by_mask(indices):
    masks = (torch.bool, torch.uint8)
    return any(each is not None and each.dtype in masks for each in indices)


@contextmanager
def no_host_read():
    with _Methods(), _Operators():
        yield


class Guard:
    """A listener that sees to it that steps of every stage read nothing.

    Of a stage that is evaluated those from the first evaluation to the second, of others those
    after the first step until the window of losses is closed.

    Attributes:
        planned: the steps to be guarded.
        guarded: those that were.
    """

    def __init__(self, method, eval_every):
        self._step, self._guard = 0, None
        self._ends, self._after_evaluation = {}, set()
        before = 0
        for stage in method.stages():
            start, most = (eval_every, 2 * eval_every) if stage.evaluated else (1, eval_every)
            self._ends[before + start] = before + min(most, stage.steps)
            if stage.evaluated:
                self._after_evaluation.add(before + start)
            before += stage.steps
        self.planned = [
            step for start, end in self._ends.items() for step in range(start + 1, end + 1)
        ]
        self.guarded = []

    def on_step(self):
        self._step += 1
        if self._guard is not None:
            self.guarded.append(self._step)
            if self._step == self._end:
                self.stop()
        if self._step not in self._after_evaluation:
            self._start()

    def on_evaluation(self, step, rows):
        self._start()

    def _start(self):
        if self._step in self._ends:
            self._end = self._ends[self._step]
            self._guard = no_host_read()
            self._guard.__enter__()

    def stop(self):
        if self._guard is not None:
            self._guard.__exit__(None, None, None)
            self._guard = None


def guarded_steps(method, recipe, precision="fp32"):
    """The steps of a real run during which nothing was read, all that were to be guarded."""
    guard = Guard(method, recipe.eval_every)
    try:
        train(method, recipe, tiny_data(), precision=precision, listeners=[guard])
    finally:
        guard.stop()
    assert guard.guarded == guard.planned
    return guard.guarded


# Features are swapped from step 12 on; a pass over the training split ends every 4 steps.
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", method_names())
def test_a_step_of_any_method_reads_nothing_from_the_device(method, precision):
    recipe = tiny_recipe(method, steps=20)
    steps = guarded_steps(tiny_method(recipe, (0, 1)), recipe, precision)
    before = steps_before_main(recipe)
    assert steps[-10:] == list(range(before + 11, before + 21))


@pytest.mark.parametrize("method", method_names())
def test_nor_do_random_crops_and_convolutions(method):
    recipe = tiny_recipe(method, **(augmented(method) | {"steps": 4, "eval_every": 2}))
    before = steps_before_main(recipe)
    assert guarded_steps(tiny_method(recipe, (0,)), recipe)[-2:] == [before + 3, before + 4]


READS = {
    "item": lambda losses: losses.sum().item(),
    "float": lambda losses: float(losses.detach().sum()),
    "int": lambda losses: int(losses.detach().sum()),
    "bool": lambda losses: bool(losses.sum() > 0),
    "if": lambda losses: 1 if losses.sum() > 0 else 0,
    "cpu": lambda losses: losses.cpu(),
    "to the host": lambda losses: losses.to("cpu"),
    "to the host by keyword": lambda losses: losses.to(device="cpu"),
    "to a device": lambda losses: losses.to(torch.device("meta")),
    "made on a device": lambda losses: torch.tensor([1.0], device=losses.device),
    "tolist": lambda losses: losses.tolist(),
    "numpy": lambda losses: losses.detach().numpy(),
    "asarray": lambda losses: np.asarray(losses.detach()),
    "nonzero": lambda losses: losses.nonzero(),
    "where": lambda losses: torch.where(losses > 0),
    "mask": lambda losses: losses[losses > 0],
    "masked_select": lambda losses: losses.masked_select(losses > 0),
    "assignment by a mask": lambda losses: losses.detach().clone().__setitem__(losses > 0, losses),
    "unique": lambda losses: losses.unique(),
    "equal": lambda losses: torch.equal(losses, losses + 1),
    "format": lambda losses: f"{losses.sum():.2f}",
    "print": lambda losses: str(losses),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_a_method_that_reads_is_caught(read):
    vanilla = get_method("vanilla")

    class Reading(vanilla):
        def losses(self, batch, step):
            losses = super().losses(batch, step)
            if step > 12:
                read(losses.total)
            return losses

    recipe = tiny_recipe("vanilla", steps=20)
    with pytest.raises(HostReadError):
        guarded_steps(Reading(recipe, Task(SHAPE, 3, (0,))), recipe)
