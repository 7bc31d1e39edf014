"""What a step cannot do without: the matrix products or passes of its networks, alone."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.steps import BATCH
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.methods import Method

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def products(method: Method, precision: str) -> Callable[[], None]:
    """The products of every layer of every encoder, each on its own.

    They are the forward one, the weight gradient and, of all layers but the first, the input
    gradient. The heads are left out: their products are too small to matter.

    Args:
        method: untrained, its encoders multi-layer perceptrons.
        precision: fp32 or bf16, the type of all factors.
    """
    layers = [
        _Layer(*shape, precision, input_gradient=number > 0)
        for number, shape in enumerate(_layer_shapes(method))
    ]
    encoders = encoders_of(method)

    def all_products() -> None:
        for _ in range(encoders):
            for layer in layers:
                for _ in layer.products():
                    pass

    return all_products


def passes(method: Method, memory_format: str, precision: str) -> Callable[[], None]:
    """Forward and backward passes of all encoders, without transforms, losses and update.

    Args:
        method: untrained, its encoders convolutional.
        memory_format: a key of MEMORY_FORMATS.
        precision: fp32 or bf16 (autocast).
    """
    layout = MEMORY_FORMATS[memory_format]
    encoder = method.encoder.to(memory_format=layout)
    height, width, channels = method.task.image_shape
    images = torch.rand(BATCH, channels, height, width).to(memory_format=layout).unsqueeze(0)

    def forward_and_backward() -> None:
        encoder.zero_grad(set_to_none=True)
        with mixed_precision(images.device, precision):
            features = encoder(images)
        features.float().sum().backward()

    return forward_and_backward


def encoders_of(method: Method) -> int:
    """How many networks a method trains at once: replicas × branches."""
    one = sum(tensor.numel() for tensor in method.encoder.branch_state(0, 0).values())
    everything = sum(tensor.numel() for tensor in method.encoder.state_dict().values())
    return everything // one


def _layer_shapes(method: Method) -> list[tuple[int, int]]:
    """Inputs and outputs of one encoder's linear layers, in order."""
    state = method.encoder.branch_state(0, 0)
    return [tuple(each.shape[::-1]) for each in state.values() if each.ndim == 2]


class _Layer:
    """The products of one linear layer."""

    def __init__(self, inputs: int, outputs: int, precision: str, *, input_gradient: bool) -> None:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.inputs = torch.rand(BATCH, inputs).to(dtype)
        self.weight = torch.rand(inputs, outputs).to(dtype)
        self.gradient = torch.rand(BATCH, outputs).to(dtype)
        self.input_gradient = input_gradient

    def products(self) -> Iterator[Tensor]:
        yield self.inputs @ self.weight
        yield self.inputs.T @ self.gradient
        if self.input_gradient:
            yield self.gradient @ self.weight.T
