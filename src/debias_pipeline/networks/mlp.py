"""The multi-layer perceptron of the Colored MNIST experiments."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from debias_pipeline.networks.encoder import Encoder
from debias_pipeline.networks.stacked import SharedInputLinear, StackedLinear

# Published code normalises images to 0..1 and then divides by 255 once more. Its learning
# rates were tuned with that, so it is part of the recipe.
PUBLISHED_INPUT_SCALE = 1 / 255


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
        self.second = StackedLinear(self.hidden, self.hidden, branches, generators)
        self.third = StackedLinear(self.hidden, self.features, branches, generators)

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder`."""
        pixels = images.movedim(2, -1).flatten(2)
        hidden = nn.functional.relu(self.first(pixels, PUBLISHED_INPUT_SCALE))
        hidden = nn.functional.relu(self.second(hidden))
        return nn.functional.relu(self.third(hidden))
