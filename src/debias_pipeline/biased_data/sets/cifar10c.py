"""Corrupted CIFAR-10: photographs, biased by a corruption per class."""

from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from debias_pipeline.biased_data.base import (
    BiasedData,
    BiasedDataset,
    ContactSheet,
    DataOptions,
    SetSize,
)
from debias_pipeline.biased_data.bias import bias_by_conflict, bias_uniform
from debias_pipeline.biased_data.corruptions import (
    CORRUPTION_NAMES,
    SEVERITIES,
    contact_sheet,
    corrupt_each,
)
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.manifest import make_data
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.cifar10 import CLASS_NAMES, cifar10_files, read_cifar10
from debias_pipeline.biased_data.sources.published_layout import (
    find_published,
    published_hash,
    read_published,
)
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir
from debias_pipeline.errors import UserError
from debias_pipeline.names import SPLITS, Headline

# One training image in ten is used for validation: 5,000 of 50,000.
_ONE_VALID_IN: Final = 10

# Number of training images on the contact sheet.
_EXAMPLES: Final = 2


class CorruptionOptions(DataOptions):
    """Options of the data set `cifar10c`.

    Attributes:
        severity: of the corruptions, 1 to 5.
    """

    severity: int = Field(default=4, ge=1, le=5, strict=True)


class CorruptedCifar10(BiasedDataset):
    """The published data set if it is in `raw_dir`, else built from CIFAR-10 in the same way.

    45,000 training images, 5,000 validation images with the same bias, and the 10,000 test images
    of CIFAR-10, whose corruption is independent of the class.
    """

    name: ClassVar[str] = "cifar10c"
    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "class"
    bias_name: ClassVar[str] = "corruption"
    label_names: ClassVar[tuple[str, ...]] = CLASS_NAMES
    bias_names: ClassVar[tuple[str, ...]] = CORRUPTION_NAMES
    options_type: ClassVar[type[DataOptions]] = CorruptionOptions
    size: ClassVar[SetSize | None] = SetSize(45_000, 5_000, 10_000, 32, 32, 10)

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the published folders, or corrupt CIFAR-10, downloaded to `raw_dir` if missing.

        Args:
            percent: percentage of the train and valid images that get the corruption of another
                class; or the published folder of that name.
            raw_dir: contains cifar10c/<percent>/…, or is that cifar10c folder, or contains an
                archive of it (cifar10c.zip, cifar10c.tar.gz, …), or CIFAR-10 in one of the forms
                of `read_cifar10`.
            seed: for the split, the choice of corruptions and their noise; not used for the
                published set.
            options: `CorruptionOptions`.

        Returns:
            images uint8, 60,000 × 32 × 32 × 3.

        Raises:
            UserError: if `percent` or `raw_dir` is invalid, raw data is damaged or cannot be
                downloaded, or a severity is set for the published set, which has a fixed one.
        """
        fraction = parse_percent(percent)
        check_raw_dir(raw_dir)
        chosen = CorruptionOptions.model_validate({} if options is None else options.model_dump())
        published = find_published(self.name, raw_dir)
        if not published:
            return self._build_from_cifar10(fraction, percent, raw_dir, seed, chosen.severity)
        if chosen != CorruptionOptions():
            raise UserError(
                f"severity={chosen.severity} is not available for the published files in "
                f"{published.folder}; omit severity, or use a raw_dir with CIFAR-10 only."
            )
        return read_published(self, published, percent=percent, seed=seed)

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash names and sizes of the CIFAR-10 files, or of the published files with times."""
        published = find_published(self.name, raw_dir)
        if published:
            return published_hash(self, published, percent)
        return files_hash(cifar10_files(raw_dir), times=False)

    def _build_from_cifar10(
        self, fraction: float, percent: str, raw_dir: Path, seed: int, severity: int
    ) -> BiasedData:
        cifar10 = read_cifar10(raw_dir)
        order_rng, bias_rng, corruption_rng = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
        )
        order = order_rng.permutation(len(cifar10.train.label))
        n_valid = len(order) // _ONE_VALID_IN
        train_rows, valid_rows = order[n_valid:], order[:n_valid]
        rows = np.concatenate([train_rows, valid_rows])
        counts = [len(train_rows), n_valid, len(cifar10.test.label)]

        label = np.concatenate([cifar10.train.label[rows], cifar10.test.label])
        bias = np.concatenate(
            [
                bias_by_conflict(cifar10.train.label[train_rows], fraction, bias_rng),
                bias_by_conflict(cifar10.train.label[valid_rows], fraction, bias_rng),
                bias_uniform(counts[2], bias_rng),
            ]
        )
        images = np.empty((len(label), *cifar10.test.images.shape[1:]), np.uint8)
        # With the default mode, NumPy would make a temporary copy.
        np.take(cifar10.train.images, rows, axis=0, out=images[: len(rows)], mode="clip")
        images[len(rows) :] = cifar10.test.images
        corrupt_each(images, bias, severity, corruption_rng)

        examples = cifar10.train.images[train_rows[:_EXAMPLES]]
        severities = ("clean", *(f"severity {each}" for each in SEVERITIES))
        sheet = ContactSheet(
            contact_sheet(examples, seed),
            rows=tuple(name.replace("_", " ") for name in CORRUPTION_NAMES),
            columns=severities * len(examples),
        )
        return make_data(
            self,
            images,
            percent=percent,
            seed=seed,
            origin=f"built from CIFAR-10 ({cifar10.origin}) with corruptions of severity "
            f"{severity}; constants of CIFAR-10-C, frost textures computed",
            split=np.repeat(SPLITS, counts),
            label=label,
            bias=bias,
            conflicting=label != bias,
            source=[*(cifar10.train.source[row] for row in rows), *cifar10.test.source],
            contact_sheet=sheet,
        )
