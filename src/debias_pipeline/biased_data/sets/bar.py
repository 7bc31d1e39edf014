"""Biased Action Recognition (BAR): six actions, biased by the place."""

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions, SetSize
from debias_pipeline.biased_data.folder.splitting import make_missing_splits
from debias_pipeline.biased_data.manifest import UNKNOWN_BIAS
from debias_pipeline.biased_data.sources.download import download
from debias_pipeline.biased_data.sources.entries import Entry, entries_hash, read_entries
from debias_pipeline.biased_data.sources.found_set import FoundSet, find_set, unpacked
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir, children
from debias_pipeline.errors import UserError
from debias_pipeline.names import SPLITS, Headline, Split

ACTIONS: Final = ("climbing", "diving", "fishing", "racing", "throwing", "pole vaulting")
# The typical place of each action, and any other place.
PLACES: Final = (
    *("rock wall", "under water", "water surface", "paved track", "playing field", "sky"),
    "another place",
)
ANOTHER_PLACE: Final = len(PLACES) - 1
# The commit that added the images to the authors' repository.
_COMMIT: Final = "b12b7c05514201dfae596c6af4739701fc871b0e"
URL: Final = f"https://github.com/alinlab/BAR/archive/{_COMMIT}.tar.gz"
_NAMES: Final = ("BAR", "BAR-master", "BAR-main", f"BAR-{_COMMIT}")
_IMAGE_NAME: Final = re.compile(r"(.+)_[0-9]+\.(?:jpe?g|png)", re.IGNORECASE)
_CONTENT: Final = "bar/train/climbing_<number>.jpg (for BiasEnsemble's archive use dataset=bar_be)"
# BiasEnsemble, which publishes a recipe, resizes all images to this size, whatever their own is.
_SIDE: Final = 224


class BiasedActions(BiasedDataset):
    """BAR as its authors publish it, without bias labels of training images.

    All test images are bias-conflicting: the action is in another place than usual. There is no
    validation split; one training image in eight is used for it.
    """

    name: ClassVar[str] = "bar"
    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "action"
    bias_name: ClassVar[str] = "place"
    label_names: ClassVar[tuple[str, ...]] = ACTIONS
    bias_names: ClassVar[tuple[str, ...]] = PLACES
    has_percents: ClassVar[bool] = False
    size: ClassVar[SetSize | None] = SetSize(1_698, 243, 654, _SIDE, _SIDE, 6)

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the images, whose names contain the action; downloaded if they are missing.

        Args:
            percent: only recorded in the data card.
            raw_dir: contains bar/train/climbing_0.jpg, …, and bar/test/…, or is that folder, or
                contains an archive of it. The folder may be named BAR or BAR-master too.
            seed: for the validation split.

        Returns:
            images uint8, N × 224 × 224 × 3, resized without keeping the aspect ratio.

        Raises:
            UserError: if the data set is missing and cannot be downloaded, or anything is wrong
                with a file.
        """
        check_raw_dir(raw_dir)
        found = _find(raw_dir)
        if found is None:
            if find_set("bar", raw_dir, lambda folder: (folder / "train/align").is_dir()):
                raise UserError(
                    f"bar in {raw_dir} has BiasEnsemble's layout with percents; use "
                    f"dataset=bar_be,percent=1pct."
                )
            archive = raw_dir / "bar.tar.gz"
            remedy = (
                "clone or download https://github.com/alinlab/BAR and put it there as "
                "bar/train/… and bar/test/…, or set raw_dir=… to the folder that contains it."
            )
            download(URL, archive, remedy)
            found = FoundSet("bar", archive, raw_dir, archive)
        with unpacked(found, _has_images, _CONTENT) as opened:
            problems: list[str] = []
            entries = _with_valid(_list(opened, problems), np.random.default_rng(seed))
            return read_entries(
                self,
                entries,
                problems,
                where=found.where,
                remedy="Repair or remove these, or unpack BAR again.",
                percent=percent,
                seed=seed,
                origin="published images; valid drawn from the training images, stratified",
                size=(_SIDE, _SIDE),
                resize=True,
            )

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the names, sizes and times of the images, or of the archive."""
        found = _find(raw_dir)
        return entries_hash(found, lambda: _list(found, [])) if found else None

    def lacks_bias_labels(self, raw_dir: Path, options: DataOptions) -> bool:
        """Return True: methods that train with bias labels cannot use this data set."""
        return True


def _find(raw_dir: Path) -> FoundSet | None:
    return find_set("bar", raw_dir, _has_images, _NAMES, any_folder=True)


def _has_images(folder: Path) -> bool:
    return any((folder / "train").glob(f"{ACTIONS[0]}_*"))


def _list(found: FoundSet, problems: list[str]) -> list[Entry]:
    """List the images of the authors' layout: all of them are for training or test."""
    splits: tuple[tuple[Split, int, bool | None], ...] = (
        ("train", UNKNOWN_BIAS, None),
        ("test", ANOTHER_PLACE, True),
    )
    entries = []
    for split, bias, conflicting in splits:
        folder = found.folder / split
        paths = list(children(folder, found.raw_dir, found.place, problems))
        if not paths:
            problems.append(f"{found.place(folder)}: no images")
        for path in paths:
            match, source = _IMAGE_NAME.fullmatch(path.name), found.place(path)
            if match and match[1] in ACTIONS:
                label = ACTIONS.index(match[1])
                entries.append(Entry(path, source, split, label, bias, conflicting))
            else:
                problems.append(f"{source}: the name is not <action>_<number>.jpg")
    return entries


def _with_valid(entries: list[Entry], rng: np.random.Generator) -> list[Entry]:
    """Draw the validation split from the training images, and sort by split."""
    if not entries:
        return entries
    split = make_missing_splits(
        np.array([each.split for each in entries]),
        np.array([each.label for each in entries], np.int16),
        np.array([each.bias for each in entries], np.int16),
        rng,
    )
    changed = [
        replace(each, split="valid") if name == "valid" else each
        for each, name in zip(entries, split, strict=True)
    ]
    return sorted(changed, key=lambda each: SPLITS.index(each.split))
