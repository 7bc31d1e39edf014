"""One stage of training: its batches, its optimisers and the update of parameters."""

import copy
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Batch, Method, Optimiser, Recipe, Run, Update
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.window import Window


class RunningStage:
    """A stage in progress: its batches, its optimisers and its window of losses.

    Attributes:
        spec: the method's description of the stage.
        position: of the stage among all stages, from 0.
        step: number of steps of the stage made so far.
    """

    def __init__(
        self, method: Method, recipe: Recipe, data: ImageData, services: Run, position: int
    ) -> None:
        """Begin a stage.

        Args:
            method: being trained.
            recipe: hyper-parameters.
            data: being trained on.
            services: what the method may call.
            position: of the stage among all stages, from 0.
        """
        stages = method.stages()
        self.spec, self.position, self.step = stages[position], position, 0
        self._steps_before = sum(each.steps for each in stages[:position])
        self._method, self._device = method, data.device
        self._plan = method.begin(self.spec, services)
        self._batches: list[Batch] = []
        self._streams = [
            BatchStream(
                data, method.task.seeds, sampling, recipe.transform, self._stream_name(number)
            )
            for number, sampling in enumerate(self._plan.streams)
        ]
        self._parameters = {
            name: [each for module in optimiser.modules for each in module.parameters()]
            for name, optimiser in self._plan.optimisers.items()
        }
        trained = {each for parameters in self._parameters.values() for each in parameters}
        for parameter in method.parameters():
            parameter.requires_grad_(parameter in trained)
        self._optimisers = {
            name: _build_optimiser(optimiser, self._parameters[name])
            for name, optimiser in self._plan.optimisers.items()
        }
        is_last = position == len(stages) - 1
        self.window = Window(
            method,
            data,
            recipe,
            self.spec,
            images_per_step=sum(each.batch_size for each in self._plan.streams),
            keep_weights=is_last,
        )

    @property
    def steps_made(self) -> int:
        """Number of steps made so far, all stages together."""
        return self._steps_before + self.step

    def learning_rate(self) -> float:
        """Return the learning rate of the first optimiser at the last step."""
        first = next(iter(self._plan.optimisers.values()))
        return first.learning_rate(self.step - 1)

    def train_step(self, precision: str) -> None:
        """Make the updates of one step."""
        for name, optimiser in self._optimisers.items():
            _set_learning_rate(optimiser, self._plan.optimisers[name].learning_rate(self.step))
        # Kept until now for `rehearse`.
        self._batches = []
        self._batches = [stream.next() for stream in self._streams]
        updates = self._updates(self._method, self.step, precision)
        for number, update in enumerate(updates):
            self.window.add(self.step, number, update.losses, self._batches[0].index)
            self._update_parameters(update.losses.total, update.optimisers)
        self.step += 1

    def _updates(self, method: Method, step: int, precision: str) -> Iterator[Update]:
        """Yield the updates of one step on the current batches."""
        updates = method.updates(self._batches, step)
        while True:
            # Only the method computes with mixed precision, not the body of the loop over updates.
            with mixed_precision(self._device, precision):
                update = next(updates, None)
            if update is None:
                return
            yield update

    def _update_parameters(self, total: Tensor, names: Sequence[str]) -> None:
        parameters = [each for name in names for each in self._parameters[name]]
        for parameter in parameters:
            parameter.grad = None
        # `inputs` costs time and is not needed if these are all parameters.
        inputs = None if len(names) == len(self._optimisers) else parameters
        # With gradients of its own, `backward` would import SymPy at the first step: half a second.
        torch.autograd.backward(total.sum(), inputs=inputs)
        for name in names:
            self._optimisers[name].step()

    def rehearse(self, precision: str) -> list[Tensor]:
        """Return the results of a step now and of one at the end of the stage, and change nothing.

        Args:
            precision: fp32 or bf16.

        Returns:
            Losses, gradients and buffers of a copy of the method, for the batches of the last step.
        """
        computed: list[Tensor] = []
        for step in (self.step, self.spec.steps - 1):
            method = copy.deepcopy(self._method)
            method.zero_grad()
            for update in self._updates(method, step, precision):
                total = update.losses.total
                torch.autograd.backward(total.sum())
                computed.append(total.detach())
            computed += [each.grad for each in method.parameters() if each.grad is not None]
            computed += method.buffers()
        return computed

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and JSON values from which the stage can be resumed."""
        tensors = {
            f"augmentation/{number}/{replica}": generator.get_state()
            for number, stream in enumerate(self._streams)
            for replica, generator in enumerate(stream.augmenters)
        }
        for name, optimiser in self._optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                for key, value in state.items():
                    if value is not None:
                        tensors[f"optimiser/{name}/{index}/{key}"] = value
        window_tensors, window = self.window.state_dict()
        tensors |= {f"window/{name}": each for name, each in window_tensors.items()}
        return tensors, {"step": self.step, "window": window}

    @torch.no_grad()
    def load_state_dict(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.step = state["step"]
        for number, stream in enumerate(self._streams):
            stream.skip(self.step)
            for replica, generator in enumerate(stream.augmenters):
                generator.set_state(tensors[f"augmentation/{number}/{replica}"])
        for name, optimiser in self._optimisers.items():
            saved: dict[int, dict[str, Tensor]] = defaultdict(dict)
            for key, tensor in tensors_below(f"optimiser/{name}/", tensors).items():
                index, _, field = key.partition("/")
                parameter = self._parameters[name][int(index)]
                if tensor.shape == parameter.shape:
                    # Fused optimisers assume the memory layout of the parameter.
                    tensor = torch.empty_like(parameter).copy_(tensor)
                saved[int(index)][field] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": dict(saved)})
        self.window.load_state_dict(tensors_below("window/", tensors), state["window"])

    def _stream_name(self, number: int) -> str:
        """Return the name of a random stream; the first stream of the first stage has none."""
        stage = self.spec.name if self.position else ""
        return f"{stage} {number}".strip() if number else stage


def tensors_below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without the prefix."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _build_optimiser(
    optimiser: Optimiser, parameters: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    rate, decay = optimiser.learning_rate(0), optimiser.weight_decay
    if optimiser.kind == "sgd":
        return _Sgd(
            parameters, lr=rate, momentum=optimiser.momentum, weight_decay=decay, fused=True
        )
    return _Adam(parameters, lr=rate, weight_decay=decay, fused=True)


def _without_compiler(optimiser: Any) -> dict[str, Any]:
    """Return methods of an optimiser without their decorators.

    These import PyTorch's compiler, although nothing is compiled, which takes 2.4 s of processor
    time of 8 s before the first step. They do nothing else but switch off gradients in `step`.
    """
    names = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(optimiser, name)) for name in names}
    return {**methods, "step": torch.no_grad()(inspect.unwrap(optimiser.step))}


_Adam: type[torch.optim.Adam] = type(
    "Adam", (torch.optim.Adam,), _without_compiler(torch.optim.Adam)
)
_Sgd: type[torch.optim.SGD] = type("SGD", (torch.optim.SGD,), _without_compiler(torch.optim.SGD))


def _set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
