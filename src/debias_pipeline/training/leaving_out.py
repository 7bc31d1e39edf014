"""Train each replica without some of the training images."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from debias_pipeline.methods import Method, Plan, Run, Stage


def leave_out(method: Method, held_out: npt.NDArray[np.bool_]) -> None:
    """Make each replica of a method train without some of the training images.

    Args:
        method: not trained yet, with shuffled batches.
        held_out: bool, [R, training images]: images that a replica is not trained on.
    """
    counts = torch.from_numpy((~held_out).astype(np.int64))
    begin = method.begin

    def begin_without(stage: Stage, run: Run) -> Plan:
        plan = begin(stage, run)
        streams = [replace(each, kind="counts", values=counts) for each in plan.streams]
        return replace(plan, streams=streams)

    method.begin = begin_without  # type: ignore[method-assign]
