"""A small convolutional network, for a few hundred images on a CPU."""

from typing import ClassVar

from torch import Tensor, nn

from debias_pipeline.networks.separate import SeparateEncoder

WIDTHS = (16, 32, 64, 128)


class Conv4(SeparateEncoder):
    """Four 3 × 3 convolutions with batch normalisation and ReLU, and a mean over all positions.

    The second to the fourth have stride 2. On 32 × 32 pixels it has a tenth of the multiplications
    of ResNet-20.
    """

    name: ClassVar[str] = "conv4"
    features: int = WIDTHS[-1]

    def backbone(self) -> nn.Module:
        """See `SeparateEncoder`."""
        return _Backbone()


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True):
            stride = 1 if inputs == 3 else 2
            convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images).mean((2, 3))
        return features
