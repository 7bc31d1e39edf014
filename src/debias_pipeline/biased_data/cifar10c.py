"""Corrupted CIFAR-10: photographs, each class tied to a corruption."""

from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from debias_pipeline.biased_data.base import (
    BiasedData,
    BiasedDataset,
    ContactSheet,
    DataOptions,
    Headline,
    SetSize,
)
from debias_pipeline.biased_data.cifar10 import CLASS_NAMES, cifar10_files, read_cifar10
from debias_pipeline.biased_data.colored_mnist import bias_by_conflict, bias_uniform
from debias_pipeline.biased_data.corruptions import (
    CORRUPTION_NAMES,
    SEVERITIES,
    contact_sheet,
    corrupt_each,
)
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.manifest import make_data_card, make_manifest
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.published_layout import (
    find_published,
    published_hash,
    read_published,
)
from debias_pipeline.biased_data.raw_dir import check_raw_dir
from debias_pipeline.errors import UserError

# One training image in ten is kept for validation: 5,000 of CIFAR-10's 50,000.
_ONE_VALID_IN: Final = 10

# Training images that the contact sheet shows, untouched and corrupted.
_EXAMPLES: Final = 2


class CorruptionOptions(DataOptions):
    """What may be chosen about `cifar10c`.

    Attributes:
        severity: how strong the corruptions are, 1 to 5.
    """

    severity: int = Field(default=4, ge=1, le=5, strict=True)


class CorruptedCifar10(BiasedDataset):
    """The published set if `raw_dir` holds it, else one built from CIFAR-10 the way it was built.

    45,000 images to train on, 5,000 to validate on (as biased), and CIFAR-10's 10,000 test images,
    whose corruption is drawn uniformly whatever the class.
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
        """Read the published folders, or corrupt CIFAR-10 (downloaded into `raw_dir` if need be).

        Args:
            percent: share of the train and valid images that get one of the nine corruptions of
                other classes; in the published layout, the folder of that name.
            raw_dir: holds cifar10c/<percent>/…, or is that cifar10c folder, or holds an archive of
                it (cifar10c.zip, cifar10c.tar.gz, …), or CIFAR-10 in one of the forms of
                `read_cifar10`.
            seed: of the split, the choice of corruptions and their noise; the published set takes
                none.
            options: `CorruptionOptions`.

        Returns:
            images uint8, 60,000 × 32 × 32 × 3.

        Raises:
            UserError: if percent is no percent, `raw_dir` is missing or empty, raw data is damaged
                or can't be had, or a severity is asked of the published set, whose images are
                corrupted already.
        """
        fraction = parse_percent(percent)
        check_raw_dir(raw_dir)
        chosen = CorruptionOptions.model_validate({} if options is None else options.model_dump())
        published = find_published(self.name, raw_dir)
        if not published:
            return self._build_from_cifar10(fraction, percent, raw_dir, seed, chosen.severity)
        if chosen != CorruptionOptions():
            raise UserError(
                f"severity={chosen.severity} can't be had from the published files in "
                f"{published.folder}: leave severity out, or pass a raw_dir with CIFAR-10 only."
            )
        return read_published(self, published, percent=percent, seed=seed)

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the published files, or names and sizes of the files of CIFAR-10."""
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
        # mode: any but the default writes into `out` without a copy on the way.
        np.take(cifar10.train.images, rows, axis=0, out=images[: len(rows)], mode="clip")
        images[len(rows) :] = cifar10.test.images
        corrupt_each(images, bias, severity, corruption_rng)

        manifest = make_manifest(
            split=np.repeat(["train", "valid", "test"], counts),
            label=label,
            bias=bias,
            conflicting=label != bias,
            source=[*(cifar10.train.source[row] for row in rows), *cifar10.test.source],
        )
        card = make_data_card(
            self,
            manifest,
            percent=percent,
            seed=seed,
            image_shape=images.shape[1:],
            origin=f"built from CIFAR-10 ({cifar10.origin}) with corruptions of severity "
            f"{severity}; constants of CIFAR-10-C, frost textures computed",
        )
        examples = cifar10.train.images[train_rows[:_EXAMPLES]]
        severities = ("clean", *(f"severity {each}" for each in SEVERITIES))
        sheet = ContactSheet(
            contact_sheet(examples, seed),
            rows=tuple(name.replace("_", " ") for name in CORRUPTION_NAMES),
            columns=severities * len(examples),
        )
        return BiasedData(images, manifest, card, sheet)
