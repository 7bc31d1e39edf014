"""The multi-layer perceptron of the Colored MNIST experiments."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from debias_pipeline.networks.encoder import Encoder, check_same_tensors
from debias_pipeline.networks.stacked import SharedInputLinear, StackedLinear

# Published code normalises images to 0..1 and then divides by 255 once more. Its learning
# rates were tuned with that, so it is part of the recipe.
PUBLISHED_INPUT_SCALE = 1 / 255


# Of the linear layers in published code's Sequential, between which its ReLUs lie.
PUBLISHED_PLACES = (0, 2, 4)


class MLP(Encoder):
    """Flatten, 2352 → 100 → 100 → 16 with a ReLU after each (Lee et al. 2021, section 4).

    Pixels are flattened in height, width, channel order, as they lie in memory.
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
        hidden = nn.functional.relu(self.first(pixels, PUBLISHED_INPUT_SCALE))
        hidden = nn.functional.relu(self.second(hidden))
        return nn.functional.relu(self.third(hidden))

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
