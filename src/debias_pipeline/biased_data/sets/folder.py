"""A user's own images: a folder with a table, or with class folders."""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from debias_pipeline.biased_data.attributes import (
    UNKNOWN_BIAS,
    Attribute,
    AttributeOptions,
    choose_bias,
)
from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions
from debias_pipeline.biased_data.folder import Listing, list_folder
from debias_pipeline.biased_data.folder.bad_files import (
    BadFiles,
    lost_values,
    with_unnamed_images,
    without_rows,
)
from debias_pipeline.biased_data.folder.labels import (
    Numbers,
    aligned_bias,
    number_values,
)
from debias_pipeline.biased_data.folder.splitting import make_missing_splits
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.manifest import make_data
from debias_pipeline.biased_data.sources.decoding import Size, decode_images, image_sizes
from debias_pipeline.biased_data.sources.raw_dir import (
    HIDDEN,
    SYSTEM,
    FileNotes,
    check_raw_dir,
)
from debias_pipeline.errors import UserError, printable
from debias_pipeline.names import SPLITS, Headline

logger = logging.getLogger(__name__)

# Images that all have the same size up to this keep it; photos of a camera would fill the disk.
_MAX_OWN_SIDE: Final = 256
_MAX_DEFAULT_SIDE: Final = 224
_BAD: Final = "unusable (skip_bad=true)"


class FolderOptions(AttributeOptions):
    """Options of the data set `folder`.

    Attributes:
        bias: see `AttributeOptions`; the names are "bias" for the column bias, <name> for a column
            bias_<name>.
        table: name of the table in raw_dir; "" for the only table there, or class folders if there
            is none.
        image_size: height and width to resize all images to, in pixels. 0 keeps the size if all
            images have the same and neither side is above 256, and otherwise takes the median of
            the shorter sides, at most 224.
        skip_bad: whether to go on without files that cannot be used, such as damaged images,
            instead of stopping; they are counted as left out.
    """

    table: str = ""
    image_size: int = Field(default=0, ge=0, le=4096)
    skip_bad: bool = False


class ImageFolder(BiasedDataset):
    """Images in `raw_dir` with labels and optional bias labels; `percent` has no effect.

    Either a table with the columns path (relative to raw_dir) and label, and optionally bias, split
    and bias_<name> for further bias attributes; other columns are copied to the manifest. Or class
    folders: <class>/…, or train/<class>/…, valid/<class>/…, test/<class>/…. docs/your_photos.md
    says what is read.

    Label and bias are names or whole numbers; sorted, they become 0, 1, 2, …, and the data card
    has their names. An empty bias is unknown. A bias of -1 is a value if there is exactly one other
    value, a whole number, or if other values are negative too; otherwise it is unknown. Unless the
    values are -1 and 1, a warning counts it. Splits without any image are drawn from the training
    images (70/10/20), stratified.

    The aligned bias of a label is the value that is over-represented most among its training
    images, compared with all training images (see `labels.aligned_bias`). An image with another
    bias is bias-conflicting. Without a bias label it is unknown whether an image is
    bias-conflicting.
    """

    name: ClassVar[str] = "folder"
    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "label"
    bias_name: ClassVar[str] = "bias"
    label_names: ClassVar[tuple[str, ...]] = ()
    bias_names: ClassVar[tuple[str, ...]] = ()
    options_type: ClassVar[type[DataOptions]] = FolderOptions
    has_percents: ClassVar[bool] = False
    has_own_images: ClassVar[bool] = True

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the images.

        Args:
            percent: only recorded in the data card.
            raw_dir: folder of the images; nothing outside of it is read.
            seed: for the splits that are drawn.
            options: `FolderOptions`.

        Returns:
            images uint8, N × H × W × 3, in the order of train, valid, test. The data card has
            `aligned_bias` and `left_out` in addition: every file in class folders, or row of a
            table, is an image or counted there.

        Raises:
            UserError: if there is nothing to read, or anything is wrong with the table, a row or
                a file (see `skip_bad`); the message counts all problems and shows the first ten.
        """
        chosen = options if isinstance(options, FolderOptions) else FolderOptions()
        check_raw_dir(raw_dir)
        if not raw_dir.is_dir():
            raise UserError(f"{raw_dir} does not exist; set raw_dir=… to your images.")
        listing = list_folder(raw_dir, chosen.table)
        for each in listing.notes:
            logger.info("%s: %s", listing.where, each)
        everything = listing
        others = with_unnamed_images(listing.others, raw_dir)
        bad = BadFiles(dict(others.bad), [f"{file}: {why}" for file, why in others.bad.items()])
        sizes, invalid = _read_sizes(listing)
        bad.add(listing, invalid)
        while True:
            if chosen.skip_bad:
                listing = without_rows(listing, invalid)
                sizes = [size for row, size in enumerate(sizes) if row not in invalid]
            problems = [*listing.problems, *lost_values(everything, listing)]
            label, label_names = number_values(listing, "label", problems)
            numbered = {
                name: number_values(listing, column, problems)
                for name, column in _bias_columns(listing).items()
            }
            # The first one also if another is chosen, so that the splits stay the same.
            bias = next(iter(numbered.values()))[0]
            split, drawn = _splits(listing, label, bias, np.random.default_rng(seed))
            problems += _split_problems(label, label_names, split)
            order = np.argsort([SPLITS.index(name) for name in split], kind="stable")
            images, note, invalid = _images(listing, sizes, order, chosen.image_size)
            bad.add(listing, invalid)
            # Some damage shows only now. Then labels and splits are made again without it.
            if not (invalid and chosen.skip_bad):
                break
        if problems or (bad.reasons and not chosen.skip_bad):
            raise bad.error(listing.where, problems, offer=not chosen.skip_bad)
        others.left_out.update(dict.fromkeys(bad.reasons, _BAD))
        _log_left_out(listing.where, len(images), others)

        split, label = split[order], label[order]
        attributes = [
            Attribute(
                name=name,
                value_names=names,
                values=values[order],
                aligned=aligned_bias(label, values[order], split, len(label_names)),
            )
            for name, (values, names) in numbered.items()
        ]
        chosen_bias = choose_bias(attributes, chosen.bias)
        data = make_data(
            self,
            images,
            percent=percent,
            seed=seed,
            origin=_origin(listing, drawn, note),
            split=split,
            label=label,
            bias=chosen_bias,
            source=[listing.source[row] for row in order],
            extra=None if listing.extra is None else listing.extra.iloc[order],
            attributes=attributes if listing.attributes else (),
            label_names=label_names,
            bad_files=bad.reasons,
        )
        data.data_card["aligned_bias"] = list(chosen_bias.aligned)
        data.data_card["left_out"] = others.left_out_counts()
        return data

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the listed images (with modification times) and the content of the table."""
        if not raw_dir.is_dir() or all(each.name.startswith(".") for each in raw_dir.iterdir()):
            return None
        listing = list_folder(raw_dir, getattr(options, "table", ""))
        files = [
            (source, path)
            for source, path in zip(listing.source, listing.path, strict=True)
            if source
        ]
        table = listing.where.read_bytes() if listing.is_table else b""
        return files_hash(files, times=True, content=table)

    def lacks_bias_labels(self, raw_dir: Path, options: DataOptions) -> bool:
        """Return whether no image has a bias label; only a table can have them."""
        if not raw_dir.is_dir():
            return False
        listing = list_folder(raw_dir, getattr(options, "table", ""))
        texts = [*listing.bias, *(each for of in listing.attributes.values() for each in of)]
        return {text.removesuffix(".0") for text in texts} <= {"", str(UNKNOWN_BIAS)}

    def folder(self, percent: str, raw_dir: Path, seed: int, options: DataOptions) -> str:
        """Return the name of `raw_dir` with a short hash of its path and of the table's name."""
        chosen = options if isinstance(options, FolderOptions) else FolderOptions()
        path = raw_dir.resolve()
        # The name of the table may have characters that are not allowed in the name of a folder.
        digest = hashlib.sha256(os.fsencode(f"{path.as_posix()}\0{chosen.table}")).hexdigest()[:8]
        slug = re.sub(r"[^A-Za-z0-9-]+", "-", path.name).strip("-")[:40] or "images"
        return self._folder(f"{slug}-{digest}", seed, chosen.model_copy(update={"table": ""}))

    def title(self, percent: str, raw_dir: Path) -> str:
        """Return the name of `raw_dir`."""
        return printable(raw_dir.resolve().name) or self.name


def _bias_columns(listing: Listing) -> dict[str, str]:
    """Return the columns of the bias attributes by name; the first is the default one."""
    columns = {name: f"bias_{name}" for name in listing.attributes}
    # Without any attribute, the bias is unknown.
    return {"bias": "bias", **columns} if any(listing.bias) or not columns else columns


def _log_left_out(where: Path, images: int, others: FileNotes) -> None:
    if others.left_out:
        is_normal = {*others.left_out.values()} <= {HIDDEN, SYSTEM}
        logger.log(
            logging.INFO if is_normal else logging.WARNING,
            "Left out %s of %s files in %s: %s",
            f"{len(others.left_out):,}",
            f"{images + len(others.left_out):,}",
            where,
            others.describe_left_out(),
        )


def _read_sizes(listing: Listing) -> tuple[list[Size | None], dict[int, str]]:
    """Read the sizes of all images from their headers.

    Returns:
        The size of each image, None if it is unknown; and row → why its file cannot be opened.
    """
    rows = [row for row, source in enumerate(listing.source) if source]
    bad: dict[int, str] = {}
    found = image_sizes([listing.path[row] for row in rows], bad)
    sizes: list[Size | None] = [None] * len(listing.source)
    for row, size in zip(rows, found, strict=True):
        sizes[row] = size
    return sizes, {rows[position]: reason for position, reason in bad.items()}


def _splits(
    listing: Listing, label: Numbers, bias: Numbers, rng: np.random.Generator
) -> tuple[npt.NDArray[np.str_], Sequence[str]]:
    """Return the split of each image, and the names of the splits that were drawn."""
    given = np.array([name or "train" for name in listing.split], dtype="<U5")
    split = make_missing_splits(given, label, bias, rng)
    return split, [name for name in SPLITS if name in split and name not in given]


def _split_problems(
    label: Numbers, label_names: Sequence[str], split: npt.NDArray[np.str_]
) -> list[str]:
    problems = []
    if len(label_names) == 1:
        problems.append(f"the labels: only one class, {label_names[0]!r}; two are needed")
    for name in SPLITS:
        if not (split == name).any():
            few = ", and too few to draw it from" if name != "train" and "train" in split else ""
            problems.append(f"the {name} split: no images{few}")
    trained = set(label[split == "train"].tolist())
    problems += [
        f"label {name!r}: no image in the train split"
        for number, name in enumerate(label_names)
        if trained and number not in trained
    ]
    return problems


def _images(
    listing: Listing, sizes: Sequence[Size | None], order: npt.NDArray[np.intp], image_size: int
) -> tuple[npt.NDArray[np.uint8], str, dict[int, str]]:
    """Decode the images of known size in this order.

    Returns:
        The images, a note about their size, and why files cannot be decoded, by row.
    """
    # Decode the others even if some are broken, to report all problems at once.
    rows = [row for row in order if sizes[row]]
    size, note = _choose_size([size for row in rows if (size := sizes[row])], image_size)
    bad: dict[int, str] = {}
    paths = [listing.path[row] for row in rows]
    images = decode_images(paths, bad, size, resize=True, name="folder", source=listing.where)
    return images, note, {int(rows[position]): reason for position, reason in bad.items()}


def _choose_size(sizes: Sequence[Size], image_size: int) -> tuple[Size, str]:
    distinct = set(sizes)
    if not distinct:
        return (1, 1), ""
    if not image_size and len(distinct) == 1 and max(sizes[0]) <= _MAX_OWN_SIDE:
        return sizes[0], ""
    side = image_size or min(_MAX_DEFAULT_SIDE, int(np.median([min(size) for size in sizes])))
    resized = sum(size != (side, side) for size in sizes)
    if not resized:
        return (side, side), ""
    note = f"{resized:,} of {len(sizes):,} images resized to {side} x {side}"
    if not image_size:
        logger.info("%s, the median shorter side, at most 224; set image_size=… to change it", note)
    return (side, side), note


def _origin(listing: Listing, drawn: Sequence[str], note: str) -> str:
    listed = f"listed in {listing.where.name}" if listing.is_table else "in class folders"
    parts = [f"own images, {listed}"]
    if drawn:
        parts.append(f"{' and '.join(drawn)} drawn from the training images, stratified")
    if note:
        parts.append(note)
    if any(listing.bias) or listing.attributes:
        parts.append("conflicting: any bias but the one over-represented most in the label")
    return "; ".join(parts)
