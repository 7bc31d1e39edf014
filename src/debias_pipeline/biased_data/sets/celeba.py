"""CelebA: faces with two of their attributes, one as label and one as bias."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from pydantic import Field

from debias_pipeline.biased_data.attributes import Attribute
from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions, SetSize
from debias_pipeline.biased_data.folder.labels import aligned_bias
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.sources.entries import Entry, read_entries
from debias_pipeline.biased_data.sources.found_set import FoundSet, find_set
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir, children
from debias_pipeline.errors import UserError, printable
from debias_pipeline.names import SPLITS, Headline
from debias_pipeline.registry import unknown

if TYPE_CHECKING:
    import pandas as pd

IMAGES: Final = "img_align_celeba"
ATTRIBUTES: Final = "list_attr_celeba.txt"
PARTITION: Final = "list_eval_partition.txt"

_SIZE: Final = (218, 178)
_SIDE: Final = 178
# Of train, valid and test.
_PARTS: Final = ("0", "1", "2")
_VALUES: Final = {"-1": 0, "1": 1}
_NAME: Final = "^[A-Za-z0-9_]+$"
_PAGE: Final = "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_REMEDY: Final = "Repair or remove these, or unpack CelebA again."


class CelebaOptions(DataOptions):
    """Options of the data set `celeba`.

    Attributes:
        target: attribute that is the label.
        bias_attribute: attribute that is the bias.
    """

    label_options: ClassVar[frozenset[str]] = frozenset({"target", "bias_attribute"})

    # The names are part of the name of a folder.
    target: str = Field(default="Blond_Hair", pattern=_NAME)
    bias_attribute: str = Field(default="Male", pattern=_NAME)


class CelebA(BiasedDataset):
    """The published data set in torchvision's layout, with its own splits.

    The aligned bias of a label is the value that is over-represented most among its training
    images (see `labels.aligned_bias`): blond women and men who are not blond, by default.
    """

    name: ClassVar[str] = "celeba"
    headline: ClassVar[Headline] = "worst_group_accuracy"
    label_name: ClassVar[str] = "target"
    bias_name: ClassVar[str] = "bias attribute"
    label_names: ClassVar[tuple[str, ...]] = ("no", "yes")
    bias_names: ClassVar[tuple[str, ...]] = ("no", "yes")
    options_type: ClassVar[type[DataOptions]] = CelebaOptions
    has_percents: ClassVar[bool] = False
    size: ClassVar[SetSize | None] = SetSize(162_770, 19_867, 19_962, _SIDE, _SIDE, 2)

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the published files.

        Args:
            percent: only recorded in the data card.
            raw_dir: contains celeba/img_align_celeba/…, celeba/list_attr_celeba.txt and
                celeba/list_eval_partition.txt, or is that celeba folder.
            seed: for the data card only; nothing is random.
            options: `CelebaOptions`.

        Returns:
            images uint8, N × 178 × 178 × 3, the centre of the published images. The data card has
            `aligned_bias` in addition.

        Raises:
            UserError: if the data set is missing, an option is not one of its attributes, or
                anything is wrong with a file.
        """
        check_raw_dir(raw_dir)
        chosen = options if isinstance(options, CelebaOptions) else CelebaOptions()
        found = _find(raw_dir)
        if found is None:
            raise UserError(
                f"celeba is not in {raw_dir} and cannot be downloaded automatically; download the "
                f"aligned images and the lists from {_PAGE} and put them there as celeba/{IMAGES}/…"
                f", celeba/{ATTRIBUTES} and celeba/{PARTITION}, or set raw_dir=… to the folder "
                f"that contains celeba."
            )
        problems: list[str] = []
        entries = _list(found, chosen, problems)
        split, label, bias = (
            np.array([getattr(entry, field) for entry in entries], kind)
            for field, kind in (("split", "<U5"), ("label", np.int16), ("bias", np.int16))
        )
        aligned = aligned_bias(label, bias, split, len(self.label_names))
        flags = Attribute(chosen.bias_attribute, self.bias_names, bias, aligned).conflicting(label)
        data = read_entries(
            self,
            [replace(each, conflicting=flag) for each, flag in zip(entries, flags, strict=True)],
            problems,
            where=found.where,
            remedy=_REMEDY,
            percent=percent,
            seed=seed,
            origin="published aligned images; conflicting: any bias but the one over-represented "
            "most in the label",
            size=_SIZE,
            crop=_SIDE,
        )
        card = data.data_card
        card["label_name"], card["bias_name"] = chosen.target, chosen.bias_attribute
        card["label_names"] = [f"not {chosen.target}", chosen.target]
        card["bias_names"] = [f"not {chosen.bias_attribute}", chosen.bias_attribute]
        card["aligned_bias"] = aligned
        return data

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash the names, sizes and times of all images and of the two lists."""
        found = _find(raw_dir)
        if found is None:
            return None
        lists = [found.folder / ATTRIBUTES, found.folder / PARTITION]
        images = children(found.folder / IMAGES, raw_dir, found.place, [])
        return files_hash([(found.place(path), path) for path in (*lists, *images)], times=True)


def _find(raw_dir: Path) -> FoundSet | None:
    return find_set(
        "celeba", raw_dir, lambda folder: (folder / ATTRIBUTES).is_file(), any_folder=True
    )


def _list(found: FoundSet, options: CelebaOptions, problems: list[str]) -> list[Entry]:
    """List the images by split, in the order of the list of attributes within each."""
    values = _read_attributes(found, options)
    partition = _read_list(found, PARTITION, 0, [0, 1])
    part_of = dict(zip(partition[0], partition[1], strict=True))
    images = children(found.folder / IMAGES, found.raw_dir, found.place, problems)
    present = {path.name for path in images}
    if not present:
        problems.append(f"{found.name}/{IMAGES}: no images; unpack {IMAGES}.zip there")
        return []
    entries = []
    for name, target, bias in values.itertuples(index=False):
        source, part = f"{found.name}/{IMAGES}/{name}", part_of.get(name)
        if name not in present:
            problem = "is listed, but does not exist"
        elif target not in _VALUES or bias not in _VALUES:
            problem = (
                f"{options.target} {target!r} and {options.bias_attribute} {bias!r} are not both "
                f"-1 or 1"
            )
        elif part not in _PARTS:
            problem = f"{PARTITION} does not have 0, 1 or 2 for it"
        else:
            path, split = found.folder / IMAGES / name, SPLITS[_PARTS.index(part)]
            entries.append(Entry(path, source, split, _VALUES[target], _VALUES[bias], None))
            continue
        problems.append(f"{printable(source)}: {problem}")
    return sorted(entries, key=lambda entry: SPLITS.index(entry.split))


def _read_attributes(found: FoundSet, options: CelebaOptions) -> "pd.DataFrame":
    """Return the names of the images and the text of the two attributes."""
    path = found.folder / ATTRIBUTES
    with path.open(encoding="utf-8", errors="replace") as file:
        count, attributes = file.readline().strip(), file.readline().split()
    for field, name in options.model_dump().items():
        if name not in attributes:
            raise UserError(unknown(field, name, attributes))
    if options.target == options.bias_attribute:
        raise UserError(
            f"target and bias_attribute are both {options.target}; choose two attributes."
        )
    columns = [0, *(1 + attributes.index(name) for name in options.model_dump().values())]
    table = _read_list(found, ATTRIBUTES, 2, columns)
    if count != str(len(table)):
        raise UserError(
            f"{path} has {len(table):,} images, but its first line says {printable(count)}; "
            f"download it again."
        )
    return table


def _read_list(found: FoundSet, name: str, header_lines: int, columns: list[int]) -> "pd.DataFrame":
    """Read columns of a list separated by spaces as text; missing values are ""."""
    import pandas as pd  # slow to import

    path = found.folder / name
    try:
        table = pd.read_csv(
            path, sep=r"\s+", header=None, skiprows=header_lines, usecols=columns, dtype=str
        )
        return table[columns].fillna("")
    except (OSError, ValueError, KeyError, pd.errors.ParserError) as error:
        raise UserError(
            f"{path} cannot be read as a list of images ({error}); download it again."
        ) from error
