"""The 20-layer ResNet for 32 × 32 images of He, Zhang, Ren & Sun (CVPR 2016), section 4.2."""

from typing import ClassVar

from torch import Tensor, nn

from debias_pipeline.networks.separate import SeparateEncoder

WIDTHS, BLOCKS = (16, 32, 64), 3


class ResNet20(SeparateEncoder):
    """16, 32, 64 channels, three blocks each; parameter-free (option A) shortcuts."""

    name: ClassVar[str] = "resnet20"
    features: int = WIDTHS[-1]

    def backbone(self) -> nn.Module:
        """See `SeparateEncoder`."""
        return _Backbone()


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(3, WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS)
        self.layers = nn.Sequential(
            *(
                _Block(before[stage] if block == 0 else width, width, first_of_stage=block == 0)
                for stage, width in enumerate(WIDTHS)
                for block in range(BLOCKS)
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.layers(nn.functional.relu(self.bn1(self.conv1(images))))
        features: Tensor = hidden.mean((2, 3))
        return features


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, first_of_stage: bool) -> None:
        super().__init__()
        self.stride = 2 if first_of_stage and inputs != outputs else 1
        self.added_channels = outputs - inputs
        self.conv1 = _convolution(inputs, outputs, self.stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = nn.functional.relu(self.bn1(self.conv1(inputs)))
        return nn.functional.relu(self.bn2(self.conv2(hidden)) + self._shortcut(inputs))

    def _shortcut(self, inputs: Tensor) -> Tensor:
        """Option A: every other pixel where the stride is 2, new channels zero."""
        if self.added_channels == 0:
            return inputs
        half = self.added_channels // 2
        pixels = inputs[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(pixels, (0, 0, 0, 0, half, self.added_channels - half))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight)
    return layer
