"""The section of a report about suspicious images: which they are, and where the branches look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from debias_pipeline.records import DataCard, Estimate, FirstSuspects, LabelEstimates
from debias_pipeline.reporting.figures.gallery import (
    Gallery,
    Pixels,
    Tile,
    image_address,
    image_addresses,
)
from debias_pipeline.reporting.text import DASH, attribute_name, counted, interval_text, percentage

# Images per label, images in all, and labels that a page shows.
_MOST_IMAGES: Final = 8
_MOST_IN_ALL: Final = 120
_MOST_LABELS: Final = 20
_MOST: Final = "most suspicious"
_LEAST: Final = "least suspicious"
# Pixels of the longer side of a picture.
_LONGEST_SIDE: Final = 128
# Means of fewer images show single images.
_FEWEST_OF_MEAN: Final = 5
_MOST_OF_MEAN: Final = 200


@dataclass(frozen=True)
class Picture:
    """A picture with a description for people who cannot see it, and the text below it."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class SuspectSection:
    """What the template shows about suspicious images.

    Attributes:
        gallery: the most and the least suspicious images of each label.
        left_out: number of labels that are not shown.
        precision: how many of the first suspects are conflicting; "" if it is not known.
        explained: for each explained image, the image, and where the bias and the debiased branch
            look.
        seed: whose networks are explained.
        means: for each label, its name, and mean images by whether the bias branch contradicts it.
        estimates: name, value and what it rests on; empty without labelled images.
        estimates_explained: what the estimates rest on.
    """

    gallery: Gallery
    left_out: int
    precision: str
    explained: Sequence[Sequence[Picture]]
    seed: int
    means: Sequence[tuple[str, Sequence[Picture]]]
    estimates: Sequence[tuple[str, str, str]]
    estimates_explained: str


def suspect_section(
    suspects: pd.DataFrame,
    images: Pixels,
    manifest: pd.DataFrame,
    data_card: DataCard,
    saliency: Mapping[str, Any],
    first: FirstSuspects | None,
    estimates: LabelEstimates,
) -> SuspectSection:
    """Return what a page shows about suspicious images.

    Args:
        suspects: a row per image, the most suspicious first.
        images: uint8, N × H × W × 3; only rows that are shown or averaged are read.
        manifest: row i describes images[i].
        data_card: facts about the data set.
        saliency: see `evaluation.explain`.
        first: see `evaluation.first_suspects`.
        estimates: see `evaluation.estimate_groups`.
    """
    # An image can be in two splits.
    in_order = zip(manifest["split"], manifest["source"], strict=True)
    row_of = {place: row for row, place in enumerate(in_order)}
    present = set(suspects["label"])
    labels = [name for name in data_card["label_names"] if name in present]
    shown = labels[:_MOST_LABELS]
    each = max(1, min(_MOST_IMAGES, _MOST_IN_ALL // (2 * max(1, len(shown)))))
    parts: dict[str, list[pd.DataFrame]] = {_MOST: [], _LEAST: []}
    means = []
    for name in shown:
        of_label = suspects[suspects["label"] == name]
        most = of_label.head(each)
        parts[_MOST].append(most)
        parts[_LEAST].append(of_label.drop(most.index).tail(each)[::-1])
        if pictures := _mean_images(of_label, images, row_of):
            means.append((name, pictures))
    return SuspectSection(
        gallery=Gallery(
            "suspect-images",
            _tiles({kind: pd.concat(part) for kind, part in parts.items()}, images, row_of),
        ),
        left_out=len(labels) - len(shown),
        precision=first_suspects_in_words(first),
        explained=_explained(saliency, suspects, data_card),
        seed=saliency["metadata"]["seed"],
        means=means,
        estimates=estimate_rows(estimates),
        estimates_explained=estimates_in_words(estimates),
    )


def _tiles(
    parts: Mapping[str, pd.DataFrame], images: Pixels, row_of: Mapping[tuple[str, str], int]
) -> list[Tile]:
    """Return the tiles of suspicious images.

    Args:
        parts: kind → rows of the catalog's `suspects`.
        images: uint8, N × H × W × 3; only rows that are shown are read.
        row_of: split and file → row of `images`.
    """
    rows: list[tuple[str, Any]] = [
        (kind, row) for kind, part in parts.items() for row in part.itertuples()
    ]
    sources = image_addresses([np.asarray(images[row_of[row.split, row.file]]) for _, row in rows])
    return [
        Tile(
            source=source,
            file=row.file,
            label=row.label,
            split=row.split,
            kind=kind,
            lines=[
                f"{kind}, rank {row.rank:,}",
                f"{row.label}, weight {row.weight:.2f}",
                f"predicted {row.prediction}; by the bias branch {row.bias_prediction}",
            ],
        )
        for source, (kind, row) in zip(sources, rows, strict=True)
    ]


# --- Numbers --------------------------------------------------------------------------------------


def first_suspects_in_words(first: FirstSuspects | None) -> str:
    """Return how many of the first suspects are conflicting in one sentence, "" if not known."""
    if first is None:
        return ""
    suspects = f"first {first['images']} suspects"
    among = f"{first['known']} images with a bias label among the {suspects}"
    are = "is" if first["conflicting"] == 1 else "are"
    return (
        f"{first['conflicting']} of the {suspects if first['known'] == first['images'] else among} "
        f"{are} bias-conflicting ({percentage(first['conflicting_fraction'])} of all images with a "
        "bias label are)."
    )


def estimate_rows(estimates: LabelEstimates) -> list[tuple[str, str, str]]:
    """Return name, value, and what it rests on, of each estimate; empty without labelled images."""
    if not estimates["labelled"]:
        return []
    worst = f" ({estimates['worst_group']})" if estimates["worst_group"] else ""
    shown = {
        "Accuracy on aligned images": estimates["aligned_accuracy"],
        "Accuracy on conflicting images": estimates["conflicting_accuracy"],
        f"Accuracy of the worst group{worst}": estimates["worst_group_accuracy"],
        "AUROC of the ranking": estimates["auroc"],
    }
    return [(name, *_estimate_texts(estimate)) for name, estimate in shown.items()]


def estimates_in_words(estimates: LabelEstimates) -> str:
    """Return what the estimates rest on, "" without labelled images."""
    labelled = estimates["labelled"]
    if not labelled:
        return ""
    others = labelled - estimates["drawn"]
    text = (
        f"Estimates for the {estimates['represented']:,} validation and test images, from "
        f"{counted(labelled, 'image')} with a bias label of yours."
    )
    if others:
        text += (
            f" {counted(others, 'image')} of these {'is' if others == 1 else 'are'} not in "
            "to_label.csv of this run, so the estimates are only approximate."
        )
    return text


def _estimate_texts(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return DASH, "no labelled image of the kind"
    low, high = estimate["low"], estimate["high"]
    if estimate["right"] is None:
        count = counted(estimate["images"], "image")
        return f"{estimate['value']:.2f}", f"{count}; {low:.2f}{DASH}{high:.2f}"
    count = f"{estimate['right']} of {estimate['images']} right"
    return percentage(estimate["value"]), f"{count}; {interval_text(low, high)}"


# --- Pictures -------------------------------------------------------------------------------------


def _mean_images(
    of_label: pd.DataFrame, images: Pixels, row_of: Mapping[tuple[str, str], int]
) -> list[Picture]:
    """Return the mean of the images of a label that the bias branch gets right, and wrong.

    Empty if there are too few images of one of the two.
    """
    agrees = of_label["bias_prediction"] == of_label["label"]
    # The clearest ones of each kind.
    parts = {
        "right": of_label[agrees].tail(_MOST_OF_MEAN),
        "wrong": of_label[~agrees].head(_MOST_OF_MEAN),
    }
    if min(map(len, parts.values())) < _FEWEST_OF_MEAN:
        return []
    pictures = []
    for kind, part in parts.items():
        places = zip(part["split"], part["file"], strict=True)
        mean = images[sorted(row_of[place] for place in places)].mean(0)
        text = f"bias branch {kind}: mean of {len(part)} images"
        pictures.append(
            Picture(
                image_address(mean.round().astype(np.uint8)),
                f"{of_label['label'].iloc[0]}, {text}",
                text,
            )
        )
    return pictures


def _explained(
    saliency: Mapping[str, Any], suspects: pd.DataFrame, data_card: DataCard
) -> list[list[Picture]]:
    tensors = saliency["tensors"]
    files: list[str] = saliency["metadata"]["files"]
    # Of an image in two splits, the more suspicious row.
    rows = suspects.drop_duplicates("file").set_index("file")
    explained = []
    for file, pixels, maps, predicted in zip(
        files,
        tensors["images"].numpy(),
        tensors["maps"].numpy(),
        tensors["predictions"].tolist(),
        strict=True,
    ):
        debiased, bias = (attribute_name(data_card, "label", label) for label in predicted)
        label, weight = rows["label"][file], rows["weight"][file]
        explained.append(
            [
                Picture(image_address(pixels), file, f"{file}: {label}, weight {weight:.2f}"),
                Picture(
                    _overlaid(pixels, maps[1]),
                    f"Where the bias branch looks in {file}",
                    f"bias branch, predicts {bias}",
                ),
                Picture(
                    _overlaid(pixels, maps[0]),
                    f"Where the debiased branch looks in {file}",
                    f"debiased branch, predicts {debiased}",
                ),
            ]
        )
    return explained


def _overlaid(pixels: Pixels, evidence: npt.NDArray[np.float32]) -> str:
    """Return the address of the image in grey, with the parts that speak for a label in colour."""
    import matplotlib

    height, width = pixels.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    smooth = Image.Resampling.BILINEAR
    grey = Image.fromarray(pixels).convert("L").resize(size, smooth if scale < 1 else 0)
    strength = np.clip(evidence, 0, None)
    strength = strength / max(float(strength.max()), 1e-12)
    heat = np.asarray(Image.fromarray(strength.astype(np.float32)).resize(size, smooth))
    colour = 255 * matplotlib.colormaps["inferno"](heat)[..., :3]
    base = np.repeat(0.5 * np.asarray(grey, dtype=np.float32)[..., None] + 30, 3, axis=2)
    blended = base + heat[..., None] * 0.8 * (colour - base)
    return image_address(blended.clip(0, 255).astype(np.uint8))
