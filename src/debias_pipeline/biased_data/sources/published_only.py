"""Base class of data sets that exist only in the published layout."""

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


class PublishedOnly(BiasedDataset):
    """A data set whose authors host the files on pages that need a browser.

    Attributes:
        page: where to get the files, for the message if they are missing.
        valid: where the validation images are, relative to the folder of the data set.
        side: height and width to resize all images to, in pixels; None if they have one size.
    """

    page: ClassVar[str]
    valid: ClassVar[str]
    side: ClassVar[int | None] = None

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the published folders.

        Args:
            percent: the published folder of that name.
            raw_dir: contains <name>/<percent>/…, or is that <name> folder, or contains an archive
                of it (<name>.zip, <name>.tar.gz, …).
            seed: for the data card only; nothing is random.

        Returns:
            images uint8, N × H × W × 3, of the size of the files, or of `side`.

        Raises:
            UserError: if `percent` is invalid, the data set is missing, or anything is wrong with
                a file.
        """
        parse_percent(percent)
        check_raw_dir(raw_dir)
        name, published = self.name, find_published(self.name, raw_dir)
        if published is None:
            raise UserError(
                f"{name} is not in {raw_dir} and cannot be downloaded automatically; download it "
                f"from {self.page} and put it there as {name}/{percent}/align/…, "
                f"{name}/{self.valid.format(percent=percent)}/… and {name}/test/…, or as an "
                f"archive named {name}.zip or {name}.tar.gz, or set raw_dir=… to the folder that "
                f"contains it."
            )
        return read_published(self, published, percent=percent, seed=seed, side=self.side)

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the names, sizes and times of the published files."""
        published = find_published(self.name, raw_dir)
        return published_hash(self, published, percent) if published else None
