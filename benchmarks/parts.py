"""Show which parts of a training step take how much of its time, by PyTorch's profiler."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any
from unittest import mock

import torch
from torch.profiler import profile, record_function

from benchmarks.cases import Case
from benchmarks.rows import Row
from debias_pipeline.images import ImageData
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.device import prepared
from debias_pipeline.training.window import Window

STEP, OPTIMISER, REST, PRODUCTS = "step", "optimiser", "rest", "products"
# Parts that do not contain each other; PyTorch itself marks the steps of optimisers.
PARTS = ("batch", "losses", "backward", OPTIMISER, "window", REST)
PRODUCT_OPERATIONS = {
    "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addbmm",
    "aten::mkldnn_convolution", "aten::thnn_conv2d", "aten::convolution_backward",
}  # fmt: skip


def parts_row(case: Case, data: ImageData, steps: int) -> Row:
    """Profile a few steps of a case.

    The profiler slows down small operations, so that shares are approximate.

    Returns:
        Percentages of the time of a step: the parts, which sum to 100, and `products`, which are
        inside `losses` and `backward`.
    """
    with prepared(data.device), ExitStack() as stack:
        method, stage = case.last_stage(data)
        for part, owner, name in (
            ("batch", BatchStream, "next"),
            ("backward", torch.autograd, "backward"),
            ("window", Window, "add"),
        ):
            marked = record_function(part)(getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, marked))
        marked_updates = _marked("losses", method.updates)
        stack.enter_context(mock.patch.object(method, "updates", marked_updates))
        stage.train_step(case.precision)
        with profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            for _ in range(steps):
                with record_function(STEP):
                    stage.train_step(case.precision)
    averages = profiler.key_averages()
    times = {each.key: each.cpu_time_total for each in averages}
    times[OPTIMISER] = sum(
        time for name, time in times.items() if name.startswith("Optimizer.step#")
    )
    times[PRODUCTS] = sum(
        each.self_cpu_time_total for each in averages if each.key in PRODUCT_OPERATIONS
    )
    times[REST] = times[STEP] - sum(times[part] for part in PARTS if part != REST)
    shares = {part: 100 * times[part] / times[STEP] for part in (*PARTS, PRODUCTS)}
    return {**asdict(case), **{f"{part}, %": share for part, share in shares.items()}}


def _marked(part: str, updates: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Mark what `Method.updates` computes for each update, but not the update itself."""

    def marked(*arguments: Any) -> Iterator[Any]:
        remaining = updates(*arguments)
        while True:
            with record_function(part):
                update = next(remaining, None)
            if update is None:
                return
            yield update

    return marked
