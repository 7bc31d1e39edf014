"""The multi-layer perceptron of the Colored MNIST experiments."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from debias_pipeline.networks.encoder import Encoder, check_same_tensors, compute_dtype
from debias_pipeline.networks.stacked import SharedInputLinear, StackedLinear

# Published code scales images to 0..1 and then divides by 255 again. Its learning rates were tuned
# with that.
PUBLISHED_INPUT_SCALE = 1 / 255


# Positions of the linear layers in the Sequential of published code; ReLUs are in between.
PUBLISHED_PLACES = (0, 2, 4)


class MLP(Encoder):
    """Flatten, 2352 → 100 → 100 → 16 with a ReLU after each (Lee et al. 2021, section 4).

    Pixels are flattened in height, width, channel order, as in memory.
    """

    name: ClassVar[str] = "mlp"
    hidden: ClassVar[int] = 100
    features: int = 16

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        branches: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        """See `Encoder`."""
        super().__init__(image_shape, branches, generators)
        height, width, channels = image_shape
        self.first = SharedInputLinear(height * width * channels, self.hidden, branches, generators)
        self._image_shape = image_shape
        self.second = StackedLinear(self.hidden, self.hidden, branches, generators)
        self.third = StackedLinear(self.hidden, self.features, branches, generators)

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder`."""
        pixels = images.movedim(2, -1).flatten(2)
        # Scaling the narrow product equals scaling the wide input, and costs nothing.
        scale = (
            PUBLISHED_INPUT_SCALE / 255 if pixels.dtype == torch.uint8 else PUBLISHED_INPUT_SCALE
        )
        pixels = pixels.to(compute_dtype(self.first.weight))
        layers = (self.first, self.second, self.third)
        parameters = [each for layer in layers for each in (layer.weight, layer.bias)]
        if not torch.is_grad_enabled():
            # Exporters trace plain operations only.
            *_, flat = _three_layers(pixels, scale, *parameters)
            return flat.view(*self.third.weight.shape[:2], *flat.shape[1:])
        features: Tensor = _ThreeLayers.apply(pixels, scale, *parameters)
        return features

    def branch_state(self, replica: int, branch: int) -> dict[str, Tensor]:
        """See `Encoder`: the layers of a `torch.nn.Sequential` called `feature`."""
        first = self.first.weight[replica, :, branch]
        height, width, channels = self._image_shape
        # Published code flattens channel by channel.
        first = first.reshape(height, width, channels, -1).movedim(2, 0).flatten(0, 2)
        weights = [first, self.second.weight[replica, branch], self.third.weight[replica, branch]]
        biases = [layer.bias[replica, branch] for layer in (self.first, self.second, self.third)]
        state = {}
        for place, weight, bias in zip(PUBLISHED_PLACES, weights, biases, strict=True):
            state[f"feature.{place}.weight"] = weight.detach().T.contiguous()
            state[f"feature.{place}.bias"] = bias.detach().clone()
        return state

    @torch.no_grad()
    def load_branch_state(self, replica: int, branch: int, state: Mapping[str, Tensor]) -> None:
        """See `Encoder`."""
        check_same_tensors(state, self.branch_state(replica, branch))
        weights = [state[f"feature.{place}.weight"].T for place in PUBLISHED_PLACES]
        height, width, channels = self._image_shape
        first = weights[0].reshape(channels, height, width, -1).movedim(0, 2).flatten(0, 2)
        self.first.weight[replica, :, branch] = first
        self.second.weight[replica, branch] = weights[1]
        self.third.weight[replica, branch] = weights[2]
        biases: list[Tensor] = [self.first.bias, self.second.bias, self.third.bias]
        for place, bias in zip(PUBLISHED_PLACES, biases, strict=True):
            bias[replica, branch] = state[f"feature.{place}.bias"]


class MLP100(MLP):
    """The MLP with 100 features instead of 16, as in the published code of LfF."""

    name: ClassVar[str] = "mlp100"
    features: int = 100


class _ThreeLayers(torch.autograd.Function):
    """Linear layers and ReLUs of all replicas and branches, with their gradients written out.

    The layers after the first are so small that autograd's overhead for about fifty views, casts
    and products was larger than their own time (docs/performance.md).

    R replicas, K branches, B images, D pixels, H hidden units, F features. The weights of a
    replica's K branches are side by side in the first layer: they have the same input, so that one
    wide matrix product computes all of them.
    """

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, scale: float, *parameters: Tensor) -> Tensor:
        """Compute [R, K, B, F] from pixels [R or 1, B, D] in the dtype to compute in."""
        hidden, second, deeper, third, features = _three_layers(pixels, scale, *parameters)
        ctx.scale = scale
        ctx.save_for_backward(pixels, hidden, second, deeper, third, features, *parameters)
        return features.view(*parameters[-1].shape[:2], *features.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the parameters, and of pixels that require one.

        Saved tensors have no autograd history, so that a second derivative would be wrong.
        """
        pixels, hidden, second, deeper, third, features, *parameters = ctx.saved_tensors
        branches = gradient.shape[1]
        of_third = _through_relu(gradient.flatten(0, 1), features)
        of_second = _through_relu(of_third.bmm(third.mT), deeper)
        of_first = _through_relu(of_second.bmm(second.mT), hidden)
        wide = _stacked_to_side_by_side(of_first * ctx.scale, branches)
        gradients = (
            pixels.mT @ wide,
            of_first.sum(1),
            hidden.mT.bmm(of_second),
            of_second.sum(1),
            deeper.mT.bmm(of_third),
            of_third.sum(1),
        )
        shaped = (
            each.view(parameter.shape).to(parameter.dtype)
            for each, parameter in zip(gradients, parameters, strict=True)
        )
        of_pixels = None
        if ctx.needs_input_grad[0]:
            first = parameters[0].flatten(2).to(wide.dtype)
            of_pixels = (wide @ first.mT).sum_to_size(pixels.shape)
        return of_pixels, None, *shaped


def _three_layers(pixels: Tensor, scale: float, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Return what the backward pass needs: hidden, second, deeper, third, features.

    Branches of all replicas are on one axis: features are [R · K, B, F].
    """
    first, first_bias, second, second_bias, third, third_bias = (
        each.to(pixels.dtype) for each in parameters
    )
    replicas, _, branches, width = first.shape
    wide = torch.baddbmm(
        first_bias.flatten(1).unsqueeze(1),
        pixels.expand(replicas, -1, -1),
        first.flatten(2),
        alpha=scale,
    )
    hidden = _side_by_side_to_stacked(wide.relu_(), branches)
    second, third = second.flatten(0, 1), third.flatten(0, 1)
    deeper = torch.baddbmm(second_bias.view(-1, 1, width), hidden, second).relu_()
    features = torch.baddbmm(third_bias.flatten(0, 1).unsqueeze(1), deeper, third).relu_()
    return hidden, second, deeper, third, features


def _through_relu(gradient: Tensor, output: Tensor) -> Tensor:
    through: Tensor = torch.ops.aten.threshold_backward(gradient, output, 0)
    return through


def _side_by_side_to_stacked(wide: Tensor, branches: int) -> Tensor:
    """Return [R, B, K · H] as [R · K, B, H]."""
    replicas, batch, _ = wide.shape
    return wide.view(replicas, batch, branches, -1).transpose(1, 2).flatten(0, 1)


def _stacked_to_side_by_side(stacked: Tensor, branches: int) -> Tensor:
    """Return [R · K, B, H] as [R, B, K · H]."""
    _, batch, width = stacked.shape
    return stacked.view(-1, branches, batch, width).transpose(1, 2).flatten(2)
