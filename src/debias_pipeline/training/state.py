"""The state of a training run, as a snapshot holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from debias_pipeline.evaluation import Selections
from debias_pipeline.methods import Method, Run
from debias_pipeline.training.checkpoint import BestCheckpoints
from debias_pipeline.training.cost import Cost
from debias_pipeline.training.snapshot import Snapshot
from debias_pipeline.training.stage import RunningStage, tensors_below
from debias_pipeline.training.threads import TrainingThreads


@dataclass
class RunState:
    """Everything of a training run that a snapshot holds, except the current stage.

    Attributes:
        method: being trained.
        best: checkpoints that the selection rules have selected so far.
        selections: the selection rules.
        threads: number of threads of the steps so far.
        history: a row per evaluation step and seed.
        cost: images and seconds so far.
    """

    method: Method
    best: BestCheckpoints
    selections: Selections
    threads: TrainingThreads
    history: list[dict[str, Any]] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)

    def to_snapshot(self, stage: RunningStage) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and JSON values from which the run can be resumed within a stage."""
        best_tensors, best_rows = self.best.state_dict()
        selection_tensors, selection_rows = self.selections.state_dict()
        stage_tensors, stage_state = stage.state_dict()
        parts = {
            "method": _tensors_of(self.method),
            "random": {
                f"{purpose}/{replica}": generator.get_state()
                for purpose, stream in self.method.random_streams.items()
                for replica, generator in enumerate(stream)
            },
            "best": best_tensors,
            "selection": selection_tensors,
            "stage": stage_tensors,
        }
        tensors = {
            f"{part}/{name}": each for part, named in parts.items() for name, each in named.items()
        }
        metadata = {
            "position": stage.position,
            "steps_made": stage.steps_made,
            "stage": stage_state,
            "best": best_rows,
            "selection": selection_rows,
            "history": self.history,
            "threads": self.threads.state_dict(),
            "cost": self.cost.state_dict(),
        }
        return tensors, metadata

    def restore(self, snapshot: Snapshot, run: Run) -> int:
        """Restore all but the interrupted stage; return the position of that stage.

        Args:
            snapshot: the result of `to_snapshot`.
            run: passed to `Method.begin`.
        """
        metadata = snapshot.metadata
        position: int = metadata["position"]
        # Earlier stages begin again in order, as they may create buffers of the size of the data.
        for stage in self.method.stages()[:position]:
            self.method.begin(stage, run)
            _load_tensors(self.method, _part(snapshot, "method"), strict=False)
        self.best.load_state_dict(_part(snapshot, "best"), metadata["best"])
        self.selections.load_state_dict(_part(snapshot, "selection"), metadata["selection"])
        self.history = [dict(row) for row in metadata["history"]]
        self.threads.load_state_dict(metadata["threads"])
        return position

    def restore_stage(self, stage: RunningStage, snapshot: Snapshot) -> None:
        """Restore the method and the interrupted stage, after the stage has begun.

        Raises:
            RuntimeError: if names or shapes of the method's parameters and buffers differ from
                those in the snapshot.
        """
        _load_tensors(self.method, _part(snapshot, "method"), strict=True)
        for name, state in _part(snapshot, "random").items():
            purpose, _, replica = name.rpartition("/")
            self.method.random_stream(purpose)[int(replica)].set_state(state)
        stage.load_state_dict(_part(snapshot, "stage"), snapshot.metadata["stage"])
        # Last, as beginning a stage may make passes over the data, which are in the numbers.
        self.cost.load_state_dict(snapshot.metadata.get("cost", {}))


def _tensors_of(method: Method) -> dict[str, Tensor]:
    """Return all parameters and buffers, also those that are not part of a checkpoint."""
    return {**dict(method.named_parameters()), **dict(method.named_buffers())}


@torch.no_grad()
def _load_tensors(method: Method, saved: Mapping[str, Tensor], *, strict: bool) -> None:
    own = _tensors_of(method)
    if strict and own.keys() != saved.keys():
        raise RuntimeError(
            f"{method.name} cannot be resumed: {sorted(own.keys() ^ saved.keys())} are not both in "
            "the method and in the snapshot; create all parameters and buffers in __init__ or begin"
        )
    for name, tensor in saved.items():
        if name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)
        elif strict:
            raise RuntimeError(f"{method.name} cannot be resumed: the shape of {name} has changed")


def _part(snapshot: Snapshot, name: str) -> dict[str, Tensor]:
    return tensors_below(f"{name}/", snapshot.tensors)
