"""A small convolutional network, for a few hundred images on a CPU."""

from typing import ClassVar

from torch import Tensor, nn

from debias_pipeline.networks.separate import SeparateEncoder

WIDTHS = (16, 32, 64, 128)


class Conv4(SeparateEncoder):
    """Four 3 × 3 convolutions of stride 2 with batch normalisation and ReLU, then a mean.

    It needs a tenth of the multiplications of ResNet-20 on images of 64 × 64 pixels, and a
    fortieth on 32 × 32.
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
            convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images).mean((2, 3))
        return features
