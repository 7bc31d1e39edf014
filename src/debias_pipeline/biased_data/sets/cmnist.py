"""Colored MNIST: digits, biased by their colour."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from debias_pipeline.biased_data.base import BiasedData, DataOptions, SetSize
from debias_pipeline.biased_data.bias import (
    bias_by_even_conflict,
    bias_by_redrawing,
    bias_uniform,
)
from debias_pipeline.biased_data.colored_digits import (
    COLOUR_NOISE,
    ColouredDigits,
    colour_digits,
)
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.digits import MNIST_ORIGIN, MNIST_SIZE, mnist_digits
from debias_pipeline.biased_data.sources.mnist import mnist_files
from debias_pipeline.biased_data.sources.published_layout import (
    find_published,
    published_hash,
    read_published,
)
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir
from debias_pipeline.errors import UserError


class ColourOptions(DataOptions):
    """Options of the data set `cmnist`.

    The published generator of LfF has conflicts=even, colour_noise=0.005 and train_on_all=true.

    Attributes:
        conflicts: redrawn: `percent` of the images get a colour drawn from all ten, so that about
            0.9 × percent conflict. even: `percent` of each digit's images conflict, spread evenly
            over the nine other colours.
        colour_noise: standard deviation of each colour channel, which is in 0..1.
        train_on_all: use all 60,000 training digits of MNIST for training. The validation split
            then has 5,000 of them again, so that it is no longer held out.
    """

    # Published accuracies are of both generators.
    published_options: ClassVar[frozenset[str]] = frozenset(
        {"conflicts", "colour_noise", "train_on_all"}
    )

    conflicts: Literal["redrawn", "even"] = "redrawn"
    colour_noise: float = Field(default=COLOUR_NOISE, ge=0, le=1)
    train_on_all: bool = False


class ColoredMnist(ColouredDigits):
    """The published data set if it is in `raw_dir`, else built from MNIST in the same way.

    55,000 training images, 5,000 validation images with the same bias, and the 10,000 test images
    of MNIST, whose colour is independent of the digit.
    """

    name: ClassVar[str] = "cmnist"
    options_type: ClassVar[type[DataOptions]] = ColourOptions
    size: ClassVar[SetSize | None] = MNIST_SIZE

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the published folders, or colour MNIST, which is downloaded to `raw_dir` if missing.

        Args:
            percent: percentage of the train and valid images whose colour is drawn from all ten,
                or that conflict (see `ColourOptions`); or the published folder of that name.
            raw_dir: contains cmnist/<percent>/…, or is that cmnist folder, or contains an archive
                of it (cmnist.zip, cmnist.tar.gz, …), or MNIST/raw/….
            seed: for the split, the colours and their noise; not used for the published set.
            options: `ColourOptions`.

        Returns:
            images uint8, N × 28 × 28 × 3 from MNIST: N = 70,000, or 75,000 with `train_on_all`. Of
            a published folder, all images of the percent, in their own size.

        Raises:
            UserError: if `percent` or `raw_dir` is invalid, raw data is damaged or cannot be
                downloaded, or an option is set for the published set, whose images are fixed.
        """
        fraction = parse_percent(percent)
        check_raw_dir(raw_dir)
        chosen = ColourOptions.model_validate({} if options is None else options.model_dump())
        published = find_published(self.name, raw_dir)
        if not published:
            return self._build_from_mnist(fraction, percent, raw_dir, seed, chosen)
        if changed := chosen.model_dump(exclude_defaults=True):
            names = ", ".join(f"{name}={value}" for name, value in changed.items())
            raise UserError(
                f"{names} is not available for the published files in {published.folder}; "
                f"omit {', '.join(changed)}, or use a raw_dir with MNIST only."
            )
        return read_published(self, published, percent=percent, seed=seed)

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash names and sizes of the MNIST files, or of the published files with times."""
        published = find_published(self.name, raw_dir)
        if published:
            return published_hash(self, published, percent)
        return files_hash(mnist_files(raw_dir), times=False)

    def _build_from_mnist(
        self, fraction: float, percent: str, raw_dir: Path, seed: int, options: ColourOptions
    ) -> BiasedData:
        order_rng, bias_rng, colour_rng = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
        )
        train, valid, test = mnist_digits(raw_dir, order_rng)
        draw_bias = bias_by_even_conflict if options.conflicts == "even" else bias_by_redrawing
        origin = MNIST_ORIGIN
        if options.train_on_all:
            train = replace(
                train,
                rows=np.concatenate([valid.rows, train.rows]),
                label=np.concatenate([valid.label, train.label]),
                source=[*valid.source, *train.source],
            )
            origin += (
                "; not held out: the validation images are digits of the training split in the "
                "same colours, with colour noise of their own"
            )
        bias = draw_bias(train.label, fraction, bias_rng)
        of_valid = (
            bias[: len(valid.rows)]
            if options.train_on_all
            else draw_bias(valid.label, fraction, bias_rng)
        )
        splits = [
            (train, bias),
            (valid, of_valid),
            (test, bias_uniform(len(test.rows), bias_rng)),
        ]
        return colour_digits(
            self,
            splits,
            percent=percent,
            seed=seed,
            rng=colour_rng,
            origin=origin,
            noise=options.colour_noise,
        )
