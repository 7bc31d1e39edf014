"""Galleries of single images with their file names: images, sizes and texts of the tiles."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from debias_pipeline.records import DataCard
from debias_pipeline.reporting.text import attribute_name, counted
from debias_pipeline.selection_rules import LAST

Pixels = npt.NDArray[np.uint8]

# Longer sides are shrunk to this many pixels: the first size whose images fit into `_MOST_BYTES`.
_SIDES: Final = (320, 224, 160, 112, 80)
_MOST_BYTES: Final = 1_200_000
# Smaller images are embedded without loss.
_LONGEST_EXACT: Final = 64
_MOST_WRONG: Final = 96


@dataclass(frozen=True)
class Tile:
    """An image of a gallery, and the texts below it.

    Attributes:
        source: `data:` address of the image.
        file: name of the image file.
        label: name of the label.
        split: train, valid or test.
        kind: what the image is shown for, such as "most suspicious".
        lines: texts below it.
        by_seed: what replaces the first line if one seed is chosen, by seed; other seeds do not
            show the image. Empty if the image belongs to all seeds.
    """

    source: str
    file: str
    label: str
    split: str
    kind: str
    lines: Sequence[str]
    by_seed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gallery:
    """Images that a page shows together.

    Attributes:
        name: id on the page.
        tiles: the images.
        note: which images are shown.
        note_by_seed: what replaces the note if one seed is chosen, by seed.
    """

    name: str
    tiles: Sequence[Tile]
    note: str = ""
    note_by_seed: Mapping[str, str] = field(default_factory=dict)

    @property
    def filters(self) -> list[tuple[str, str, list[str]]]:
        """Return attribute, name and values of each filter with several values."""
        filters = [
            (attribute, name, list(dict.fromkeys(getattr(each, attribute) for each in self.tiles)))
            for attribute, name in (("label", "Label"), ("split", "Split"), ("kind", "Show"))
        ]
        return [each for each in filters if len(each[2]) > 1]


def misclassified(
    predictions: pd.DataFrame, images: Pixels, manifest: pd.DataFrame, data_card: DataCard
) -> Gallery | None:
    """Return test images that the networks of the last step get wrong.

    Per label, those that most seeds get wrong come first.

    Args:
        predictions: a row per test image, seed and selection rule.
        images: uint8, N × H × W × 3; only rows that are shown are read.
        manifest: row i describes images[i].
        data_card: facts about the data set.

    Returns:
        The gallery; None if there is no such image.
    """
    last = predictions[predictions["checkpoint"] == LAST.key]
    facts = manifest.reset_index(drop=True).reset_index(names="row").set_index("image_id")
    last = last.join(facts[["row", "label", "bias", "conflicting", "source"]], on="image_id")
    seeds = last["seed"].nunique()
    wrong = last[last["prediction"] != last["label"]]
    if wrong.empty:
        return None
    by_image = wrong.groupby("image_id").size().to_frame("wrong").join(facts)
    by_image = by_image.sort_values("wrong", ascending=False, kind="stable")
    per_label = max(1, _MOST_WRONG // by_image["label"].nunique())
    shown = by_image.groupby("label").head(per_label).head(_MOST_WRONG)
    rows: list[Any] = list(shown.sort_values("label", kind="stable").itertuples())
    sources = image_addresses([np.asarray(images[row.row]) for row in rows])
    mistakes = dict(iter(wrong[wrong["image_id"].isin(shown.index)].groupby("image_id")))
    tiles = [
        _wrong_tile(source, row, mistakes[row.Index], seeds, data_card)
        for source, row in zip(sources, rows, strict=True)
    ]
    note = f"{len(tiles):,} of {counted(len(by_image), 'test image')} that the last step gets wrong"
    if seeds == 1:
        return Gallery("misclassified", tiles, f"{note}.")
    note += f" for at least one of {seeds} seeds, those that most seeds get wrong first."
    of_seeds = (last["prediction"] != last["label"]).groupby(last["seed"]).sum()
    note_by_seed = {
        str(seed): f"{sum(str(seed) in tile.by_seed for tile in tiles):,} of "
        f"{counted(int(count), 'test image')} that the last step of seed {seed} gets wrong: those "
        f"among the {len(tiles):,} images that are shown for all seeds."
        for seed, count in of_seeds.items()
    }
    return Gallery("misclassified", tiles, note, note_by_seed)


def _wrong_tile(
    source: str, row: Any, mistakes: pd.DataFrame, seeds: int, data_card: DataCard
) -> Tile:
    """Return what the gallery shows of a misclassified image.

    Args:
        source: address of the image.
        row: facts about the image.
        mistakes: seed and prediction of the networks that get it wrong.
        seeds: number of all seeds.
        data_card: facts about the data set.
    """
    label, alignment = attribute_name(data_card, "label", row.label), _alignment(row.conflicting)

    def text(prediction: int) -> str:
        return f"{label}, predicted {attribute_name(data_card, 'label', prediction)}"

    # The most frequent prediction; of equally frequent ones the first label.
    lines = [text(mistakes["prediction"].mode()[0])]
    if row.bias >= 0:
        kind = f", {alignment}" if not pd.isna(row.conflicting) else ""
        lines.append(f"{attribute_name(data_card, 'bias', row.bias)}{kind}")
    by_seed = {}
    if seeds > 1:
        lines.append(f"wrong for {row.wrong} of {seeds} seeds")
        pairs = zip(mistakes["seed"], mistakes["prediction"], strict=True)
        by_seed = {str(seed): text(prediction) for seed, prediction in pairs}
    return Tile(source, row.source, label, "test", alignment, lines, by_seed)


def _alignment(conflicting: Any) -> str:
    if pd.isna(conflicting):
        return "not known to be aligned or conflicting"
    return "bias-conflicting" if conflicting else "bias-aligned"


# --- Images ---------------------------------------------------------------------------------------


def image_addresses(images: Sequence[Pixels]) -> list[str]:
    """Return `data:` addresses of images, which are shrunk if they are large together.

    Args:
        images: uint8, [H, W, 3] each.
    """
    addresses: list[str] = []
    for side in _SIDES:
        addresses = [image_address(pixels, side) for pixels in images]
        if sum(map(len, addresses)) <= _MOST_BYTES:
            break
    return addresses


def image_address(pixels: Pixels, longest_side: int = 128) -> str:
    """Return a `data:` address of an image of at most `longest_side` pixels per side.

    Small images are exact; larger ones are JPEG, as photos would be large otherwise.
    """
    image = Image.fromarray(pixels)
    is_large = max(image.size) > _LONGEST_EXACT
    image.thumbnail((longest_side, longest_side))
    buffer = io.BytesIO()
    kind = "JPEG" if is_large else "PNG"
    image.save(buffer, kind, **({"quality": 80} if is_large else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
