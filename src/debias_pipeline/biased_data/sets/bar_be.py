"""BAR with percents, as published with BiasEnsemble: six actions, biased by the place."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.entries import Entry, entries_hash, read_entries
from debias_pipeline.biased_data.sources.found_set import FoundSet, find_set, unpacked
from debias_pipeline.biased_data.sources.published_layout import (
    REMEDY,
    ImageFolder,
    is_percent,
    list_folders,
    percent_folders,
)
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir
from debias_pipeline.errors import UserError
from debias_pipeline.names import Headline

_ACTIONS: Final = 6
# The published code resizes all images to this size, whatever their own is.
_SIZE: Final = (224, 224)


class BiasedActionsByPercent(BiasedDataset):
    """BAR as published with BiasEnsemble: 1pct or 5pct of the training images conflict.

    The place of a conflicting image is unknown: it is "another place". The files have numbers for
    the six actions, not names.
    """

    name: ClassVar[str] = "bar_be"
    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "action"
    bias_name: ClassVar[str] = "place"
    label_names: ClassVar[tuple[str, ...]] = tuple(f"action {each}" for each in range(_ACTIONS))
    bias_names: ClassVar[tuple[str, ...]] = (
        *(f"place of action {each}" for each in range(_ACTIONS)),
        "another place",
    )

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the published folders.

        Args:
            percent: 1pct or 5pct.
            raw_dir: contains bar/train/align/…, bar/train/conflict/<percent>/…, bar/valid/… and
                bar/test/…, or is that bar folder, or contains bar.zip.
            seed: for the data card only; nothing is random.

        Returns:
            images uint8, N × 224 × 224 × 3, resized without keeping the aspect ratio.

        Raises:
            UserError: if `percent` is invalid, the data set is missing, or anything is wrong with
                a file.
        """
        parse_percent(percent)
        check_raw_dir(raw_dir)
        found = _find(raw_dir)
        if found is None:
            raise UserError(
                f"bar with percents is not in {raw_dir} and cannot be downloaded automatically; "
                f"download it from the page of Lee et al. 2023 (https://github.com/kakaoenterprise"
                f"/BiasEnsemble) and put it there as bar/train/align/…, bar/train/conflict/"
                f"{percent}/…, bar/valid/… and bar/test/…, or as bar.zip, or set raw_dir=… to the "
                f"folder that contains it."
            )

        def is_needed(place: PurePosixPath) -> bool:
            return all(part == percent or not is_percent(part) for part in place.parts)

        with unpacked(found, _has_percents, f"bar/train/conflict/{percent}", is_needed) as opened:
            present = percent_folders(opened.folder / "train/conflict")
            if percent not in present:
                raise UserError(
                    f"{found.where} has no folder train/conflict/{percent}; choose one of "
                    f"{', '.join(present)}."
                )
            problems: list[str] = []
            entries = _list_with_percent(self, opened, percent, problems)
            return read_entries(
                self,
                entries,
                problems,
                where=found.where,
                remedy=REMEDY,
                percent=percent,
                seed=seed,
                origin="published folder layout of BiasEnsemble",
                size=_SIZE,
                resize=True,
            )

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the names, sizes and times of the images, or of the archive."""
        found = _find(raw_dir)
        if found is None:
            return None
        return entries_hash(found, lambda: _list_with_percent(self, found, percent, []))


def _find(raw_dir: Path) -> FoundSet | None:
    return find_set("bar", raw_dir, _has_percents)


def _has_percents(folder: Path) -> bool:
    return bool(percent_folders(folder / "train/conflict"))


def _list_with_percent(
    dataset: BiasedDataset, found: FoundSet, percent: str, problems: list[str]
) -> list[Entry]:
    folders: list[ImageFolder] = [
        ("train", found.folder / "train/align", False),
        ("train", found.folder / "train/conflict" / percent, True),
        ("valid", found.folder / "valid", None),
        ("test", found.folder / "test", None),
    ]
    # The published code does not use the bias in the names of training images.
    entries = list_folders(dataset, found, folders, problems, check_bias=False)
    return [replace(each, bias=_ACTIONS if each.conflicting else each.label) for each in entries]
