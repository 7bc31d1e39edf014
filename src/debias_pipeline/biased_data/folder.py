"""The user's own images: a folder and a table of it, or class folders."""

import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions, Headline
from debias_pipeline.biased_data.decoding import Size, decode_images, image_sizes
from debias_pipeline.biased_data.folder_listing import list_folder
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.image_files import problems_error
from debias_pipeline.biased_data.listing import Listing
from debias_pipeline.biased_data.manifest import (
    SPLITS,
    UNKNOWN_BIAS,
    make_data_card,
    make_manifest,
)
from debias_pipeline.biased_data.raw_dir import check_raw_dir
from debias_pipeline.biased_data.splitting import make_missing_splits

logger = logging.getLogger(__name__)

# Images that all have one size keep it up to here; photos from a camera would fill the disk.
_MOST_OWN_SIDE: Final = 256
_MOST_CHOSEN_SIDE: Final = 224
# Python converts no longer texts to int by default.
_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,4000}(\.0*)?")
# A column of whole numbers with gaps is often saved as 0.0, 1.0.
_FLOAT: Final = re.compile(r"^(-?[0-9]+)\.0$")
# The manifest's codes are int16.
_MOST_LABELS: Final = int(np.iinfo(np.int16).max) + 1
# Of the skipped files, those that the warning names.
_SHOWN_SKIPPED: Final = 5
_REMEDY: Final = "Repair or remove what is named"

Numbers = npt.NDArray[np.int16]


class FolderOptions(DataOptions):
    """What may be chosen about one's own images.

    Attributes:
        table: name of the table in raw_dir; "" takes the only .csv or .parquet there, or class
            folders if there is none.
        image_size: height and width that all images are brought to, in pixels. 0 keeps the size
            that all of them have, if neither side is above 256; else takes the median of their
            shorter sides, at most 224.
    """

    table: str = ""
    image_size: int = Field(default=0, ge=0, le=4096)


class ImageFolder(BiasedDataset):
    """Images in `raw_dir`, with labels and perhaps bias labels; `percent` means nothing here.

    Either a table (CSV in UTF-8, or parquet) with the columns path (relative to raw_dir) and
    label, and if known bias and split (train, valid, test); further columns are carried along in
    the manifest. Or class folders: <class>/…, or train/<class>/…, valid/<class>/…,
    test/<class>/….

    Label and bias are names or whole numbers; sorted, they become 0, 1, 2, …, and the data card
    keeps what they were called: 01 and 1 are two names, and only in a table 1.0 is 1. An empty
    bias is unknown, and so is -1, with a warning, unless -1 and another number are the only two
    values. Splits that are missing altogether are drawn from the training images (70/10/20),
    stratified.

    Labels and bias attribute have values of their own, so which bias goes with a label is learned
    from the data: the one that is most frequent with it in the training split (of two alike, the
    first). An image with another bias is conflicting; with an unknown one, unknown.
    """

    name: ClassVar[str] = "folder"
    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "label"
    bias_name: ClassVar[str] = "bias"
    label_names: ClassVar[tuple[str, ...]] = ()
    bias_names: ClassVar[tuple[str, ...]] = ()
    options_type: ClassVar[type[DataOptions]] = FolderOptions
    has_percents: ClassVar[bool] = False

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the images.

        Args:
            percent: noted in the data card, otherwise not looked at.
            raw_dir: holds the images; nothing outside it is read.
            seed: of the splits that are drawn.
            options: a `FolderOptions`.

        Returns:
            images uint8, N × H × W × 3, in the order of train, valid, test. The data card has
            besides the usual `aligned_bias`: for each label the number of the bias that goes with
            it, null where none is known.

        Raises:
            UserError: if there is nothing to read, the table can't be read, or anything is wrong
                with any row or file; all are looked at, and the message counts the problems and
                names the first ten.
        """
        chosen = options if isinstance(options, FolderOptions) else FolderOptions()
        check_raw_dir(raw_dir)
        if not raw_dir.is_dir():
            raise _nothing(raw_dir)
        listing = list_folder(raw_dir, chosen.table)
        _warn_of_skipped(listing)
        problems = list(listing.problems)
        label, label_names = _numbered(listing, "label", problems)
        bias, bias_names = _numbered(listing, "bias", problems)
        split, drawn = _splits(listing, label, bias, np.random.default_rng(seed))
        problems += _complaints(label, label_names, split)
        order = np.argsort([SPLITS.index(name) for name in split], kind="stable")
        images, note = _images(listing, order, chosen.image_size, problems)
        if problems:
            raise problems_error(listing.where, problems, f"{_REMEDY}.")

        split, label, bias = split[order], label[order], bias[order]
        aligned = _aligned_bias(label, bias, split, len(label_names))
        manifest = make_manifest(
            split=split,
            label=label,
            bias=bias,
            conflicting=_conflicting(label, bias, aligned),
            source=[listing.source[row] for row in order],
            extra=None if listing.extra is None else listing.extra.iloc[order],
        )
        card = make_data_card(
            self,
            manifest,
            percent=percent,
            seed=seed,
            image_shape=images.shape[1:],
            origin=_origin(listing, drawn, note),
            label_names=label_names,
            bias_names=bias_names,
        )
        return BiasedData(images, manifest, card | {"aligned_bias": aligned})

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the listed images (with times of modification) and the content of the table."""
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
        """See `BiasedDataset`: only a table can have them."""
        chosen = options if isinstance(options, FolderOptions) else FolderOptions()
        if not raw_dir.is_dir():
            return False
        return {*list_folder(raw_dir, chosen.table).bias} <= {"", str(UNKNOWN_BIAS)}

    def folder(self, percent: str, raw_dir: Path, seed: int, options: DataOptions) -> str:
        """File results under the name of `raw_dir`, told from its namesakes by a short hash.

        Args:
            percent: not looked at.
            raw_dir: see `build`.
            seed: see `build`.
            options: see `build`.
        """
        chosen = options if isinstance(options, FolderOptions) else FolderOptions()
        place = raw_dir.resolve()
        # A table is known by the hash as well: its name may hold what a folder's may not.
        told = hashlib.sha256(f"{place.as_posix()}\0{chosen.table}".encode()).hexdigest()[:8]
        slug = re.sub(r"[^A-Za-z0-9-]+", "-", place.name).strip("-")[:40] or "images"
        return super().folder(
            f"{slug}-{told}", raw_dir, seed, chosen.model_copy(update={"table": ""})
        )


def _nothing(raw_dir: Path) -> Exception:
    return problems_error(raw_dir, ["it does not exist"], "Pass raw_dir=… with your images.")


def _warn_of_skipped(listing: Listing) -> None:
    if listing.skipped:
        logger.warning(
            "Skipped %s files in %s that are in no class folder or are no images by name: %s%s",
            f"{len(listing.skipped):,}",
            listing.where,
            ", ".join(listing.skipped[:_SHOWN_SKIPPED]),
            ", …" if len(listing.skipped) > _SHOWN_SKIPPED else "",
        )


def _numbered(listing: Listing, what: str, problems: list[str]) -> tuple[Numbers, list[str]]:
    """Number the distinct labels or bias values in sorted order; −1 where there is none.

    The name is the identity: 01 and 1 differ. Only in a table, where programs write whole numbers
    as floats, 1.0 is 1.
    """
    texts = list(listing.label if what == "label" else listing.bias)
    if listing.is_table:
        texts = [_FLOAT.sub(r"\1", text) for text in texts]
        if what == "bias":
            texts = _without_unknown(texts, listing.where)
        problems += _mixed(listing.rows, texts, what)
    names = _in_order({text for text in texts if text})
    if len(names) > _MOST_LABELS:
        problems.append(
            f"the {what} column: {len(names):,} different {what}s, at most {_MOST_LABELS:,} are "
            f"supported"
        )
        names = names[:_MOST_LABELS]
    code = {name: number for number, name in enumerate(names)}
    return np.array([code.get(text, -1) for text in texts], np.int16), names


def _in_order(names: set[str]) -> list[str]:
    """Sort whole numbers by value and anything else by name."""
    if all(_WHOLE_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (int(name.partition(".")[0]), name))
    return sorted(names)


def _without_unknown(texts: list[str], where: Path) -> list[str]:
    """Take a bias of −1 as unknown, unless it is one of only two numbers, as in −1 and 1."""
    unknown = str(UNKNOWN_BIAS)
    others = set(texts) - {"", unknown}
    count = texts.count(unknown)
    if not count or (len(others) == 1 and _WHOLE_NUMBER.fullmatch(next(iter(others)))):
        return texts
    logger.warning(
        "%s: %s rows have the bias -1, which is taken as unknown next to %s; if it is a value of "
        "its own, give it a name, else leave it empty",
        where,
        f"{count:,}",
        f"{len(others):,} other values" if others else "no other value",
    )
    return ["" if text == unknown else text for text in texts]


def _mixed(rows: Sequence[str], texts: Sequence[str], what: str) -> list[str]:
    """Complain about numbers among names, or names among numbers."""
    are_whole = [bool(_WHOLE_NUMBER.fullmatch(text)) for text in texts if text]
    if all(are_whole) or not any(are_whole):
        return []
    mostly_whole = 2 * sum(are_whole) >= len(are_whole)
    finding = (
        "is no whole number, as others are" if mostly_whole else "is a number, and others are names"
    )
    return [
        f"{row}: {what} {text!r} {finding}"
        for row, text in zip(rows, texts, strict=True)
        if text and bool(_WHOLE_NUMBER.fullmatch(text)) != mostly_whole
    ]


def _splits(
    listing: Listing, label: Numbers, bias: Numbers, rng: np.random.Generator
) -> tuple[npt.NDArray[np.str_], Sequence[str]]:
    """The split of each image, and the names of those that were drawn."""
    given = np.array([name or "train" for name in listing.split], dtype="<U5")
    split = make_missing_splits(given, label, bias, rng)
    return split, [name for name in SPLITS if name in split and name not in given]


def _complaints(
    label: Numbers, label_names: Sequence[str], split: npt.NDArray[np.str_]
) -> list[str]:
    """What is wrong with the set as a whole."""
    problems = []
    if len(label_names) == 1:
        problems.append(f"the labels: a single class, {label_names[0]!r}, where two are needed")
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
    listing: Listing, order: npt.NDArray[np.intp], image_size: int, problems: list[str]
) -> tuple[npt.NDArray[np.uint8], str]:
    """Decode in this order; also say what size was taken, and why."""
    rows = [row for row in order if listing.source[row]]
    paths = [listing.path[row] for row in rows]
    places = [listing.rows[row] for row in rows]
    sizes = image_sizes(paths, places, problems)
    # What is broken has been told; the rest is looked at none the less.
    good = [position for position, size in enumerate(sizes) if size]
    size, note = _choose_size([size for size in sizes if size], image_size)
    images = decode_images(
        [paths[position] for position in good],
        [places[position] for position in good],
        problems,
        size,
        resize=True,
    )
    return images, note


def _choose_size(sizes: Sequence[Size], image_size: int) -> tuple[Size, str]:
    distinct = set(sizes)
    if not distinct:
        return (1, 1), ""
    if not image_size and len(distinct) == 1 and max(sizes[0]) <= _MOST_OWN_SIDE:
        return sizes[0], ""
    side = image_size or min(_MOST_CHOSEN_SIDE, int(np.median([min(size) for size in sizes])))
    resized = sum(size != (side, side) for size in sizes)
    if not resized:
        return (side, side), ""
    note = f"{resized:,} of {len(sizes):,} images resized to {side} x {side}"
    if not image_size:
        logger.info("%s, the median shorter side up to 224: image_size=… chooses another", note)
    return (side, side), note


def _aligned_bias(
    label: Numbers, bias: Numbers, split: npt.NDArray[np.str_], labels: int
) -> list[int | None]:
    aligned: list[int | None] = []
    for value in range(labels):
        known = bias[(label == value) & (split == "train") & (bias != UNKNOWN_BIAS)]
        aligned.append(int(np.bincount(known).argmax()) if len(known) else None)
    return aligned


def _conflicting(label: Numbers, bias: Numbers, aligned: Sequence[int | None]) -> list[bool | None]:
    return [
        None if value == UNKNOWN_BIAS or aligned[own] is None else value != aligned[own]
        for own, value in zip(label.tolist(), bias.tolist(), strict=True)
    ]


def _origin(listing: Listing, drawn: Sequence[str], note: str) -> str:
    listed = f"listed in {listing.where.name}" if listing.is_table else "in class folders"
    parts = [f"own images, {listed}"]
    if drawn:
        parts.append(f"{' and '.join(drawn)} drawn from the training images, stratified")
    if note:
        parts.append(note)
    if any(listing.bias):
        parts.append("conflicting: any bias but the most frequent of the label in training")
    return "; ".join(parts)
