"""Biased FFHQ: faces whose age nearly always goes with their gender."""

from pathlib import Path
from typing import ClassVar

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions, Headline
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.published_layout import (
    find_published,
    published_hash,
    read_published,
)
from debias_pipeline.biased_data.raw_dir import check_raw_dir
from debias_pipeline.errors import UserError


class BiasedFaces(BiasedDataset):
    """The published set: young women and old men, and a few faces that conflict.

    Published tables quote the accuracy on bias-conflicting test images only, hence the headline.
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
        """Read the published folders; the set can't be built from anything else.

        Args:
            percent: the folder of that name.
            raw_dir: holds bffhq/<percent>/…, or is that bffhq folder, or holds an archive of it
                (bffhq.zip, bffhq.tar.gz, …).
            seed: for the data card only; nothing is random here.
            options: there are none.

        Returns:
            images uint8, N × 128 × 128 × 3 as published: whatever size all files have.

        Raises:
            UserError: if percent is no percent, the set is not there, or anything is wrong with
                any file.
        """
        parse_percent(percent)
        check_raw_dir(raw_dir)
        published = find_published(self.name, raw_dir)
        if published is None:
            raise UserError(
                f"bffhq is not in {raw_dir}: its authors host it and it can't be built from "
                f"anything else. Get it from the page of Lee et al. 2021 (arXiv 2107.01372) and "
                f"put it there as bffhq/{percent}/align/…, bffhq/valid/… and bffhq/test/…, or as "
                f"one archive named bffhq.zip or bffhq.tar.gz, or pass raw_dir=… with the folder "
                f"that holds it."
            )
        return read_published(self, published, percent=percent, seed=seed)

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the published files."""
        published = find_published(self.name, raw_dir)
        return published_hash(self, published, percent) if published else None
