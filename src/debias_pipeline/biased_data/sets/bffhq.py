"""Biased FFHQ: faces, labelled by age and biased by gender."""

from pathlib import Path
from typing import ClassVar

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.published_layout import (
    find_published,
    published_hash,
    read_published,
)
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir
from debias_pipeline.errors import UserError
from debias_pipeline.names import Headline


class BiasedFaces(BiasedDataset):
    """The published data set: mostly young women and old men.

    Published tables report the accuracy on bias-conflicting test images only.
    """

    name: ClassVar[str] = "bffhq"
    headline: ClassVar[Headline] = "conflicting_accuracy"
    label_name: ClassVar[str] = "age"
    bias_name: ClassVar[str] = "gender"
    label_names: ClassVar[tuple[str, ...]] = ("young", "old")
    bias_names: ClassVar[tuple[str, ...]] = ("female", "male")

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the published folders.

        Args:
            percent: the published folder of that name.
            raw_dir: contains bffhq/<percent>/…, or is that bffhq folder, or contains an archive of
                it (bffhq.zip, bffhq.tar.gz, …).
            seed: for the data card only; nothing is random.

        Returns:
            images uint8, N × 128 × 128 × 3 as published, otherwise of the size of the files.

        Raises:
            UserError: if `percent` is invalid, the data set is missing, or anything is wrong with
                a file.
        """
        parse_percent(percent)
        check_raw_dir(raw_dir)
        published = find_published(self.name, raw_dir)
        if published is None:
            raise UserError(
                f"bffhq is not in {raw_dir} and cannot be downloaded automatically; download it "
                f"from the page of Lee et al. 2021 (arXiv 2107.01372) and put it there as "
                f"bffhq/{percent}/align/…, bffhq/valid/… and bffhq/test/…, or as an archive named "
                f"bffhq.zip or bffhq.tar.gz, or set raw_dir=… to the folder that contains it."
            )
        return read_published(self, published, percent=percent, seed=seed)

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the names, sizes and times of the published files."""
        published = find_published(self.name, raw_dir)
        return published_hash(self, published, percent) if published else None
