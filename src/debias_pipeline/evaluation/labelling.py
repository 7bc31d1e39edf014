"""Draw a few images whose bias to label by hand, and estimate group accuracies from them.

A stratified random sample: images whose label the bias branch contradicts are drawn with a higher
probability than others, since most conflicting images are among them. As the probabilities are
known, weights correct for them. Cochran, "Sampling Techniques", 3rd edition 1977, chapters 5 and 8.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation.suspects import names_of
from debias_pipeline.intervals import auroc_interval, wilson
from debias_pipeline.records import DataCard, Estimate, LabelEstimates

# Number of images to label.
IMAGES: Final = 20
ALIGNED: Final = "aligned"
CONFLICTING: Final = "conflicting"

_Flags = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]


def images_to_label(suspects: pd.DataFrame) -> pd.DataFrame:
    """Return the catalog's `to_label`: at most 20 images of the validation and test split.

    Half of them are drawn from the images whose label the bias branch contradicts, half from the
    others; if there are too few of one kind, more of the other. All images of a kind have the same
    probability. Within a kind, the number of images of a label is proportional to how many there
    are. The draw depends on `suspects` only.

    Args:
        suspects: see `rank_suspects`.

    Returns:
        A row per image, sorted by file: file, split, label, and an empty bias.
    """
    unseen = _unseen(suspects)
    contradicted = _contradicted(unseen)
    counts = {True: int(contradicted.sum()), False: int((~contradicted).sum())}
    drawn = min(counts[True], max(IMAGES // 2, IMAGES - counts[False]))
    random = np.random.default_rng(0)
    parts = [
        _spread_over_labels(unseen[contradicted], drawn, random),
        _spread_over_labels(unseen[~contradicted], min(IMAGES - drawn, counts[False]), random),
    ]
    # Sorted, so that the order does not tell which images are suspicious.
    chosen = pd.concat(parts).sort_values("file", ignore_index=True)
    return chosen[["file", "split", "label"]].assign(bias="")


def estimate_groups(
    suspects: pd.DataFrame,
    to_label: pd.DataFrame,
    labels: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: DataCard,
    where: str,
) -> LabelEstimates:
    """Return the catalog's `label_estimates`, for all images of the validation and test split.

    A labelled image represents N / n images: N images of its kind (contradicted by the bias branch
    or not), of which n are labelled. Estimates are ratios of sums with these weights. Their 95 %
    intervals are those of an unweighted sample of the effective size (Σw)² / Σw².

    Args:
        suspects: see `rank_suspects`.
        to_label: see `images_to_label`.
        labels: file and bias of each labelled image; no rows if nothing is labelled.
        manifest: of the data set; it tells which bias value of a label is aligned, if known.
        data_card: data card of the data set.
        where: what messages call `labels`.

    Raises:
        UserError: if a file is not one of the validation or test split, or a bias is not
            `aligned`, `conflicting`, or a value of the bias attribute.
    """
    if labels.empty:
        return {
            "labelled": 0,
            "drawn": 0,
            "represented": 0,
            "aligned_accuracy": None,
            "conflicting_accuracy": None,
            "worst_group_accuracy": None,
            "worst_group": None,
            "auroc": None,
        }
    unseen = _unseen(suspects)
    files = _known_files(labels["file"], suspects, unseen, where)
    rows = unseen.assign(contradicted=_contradicted(unseen)).set_index("file")
    labelled = rows.loc[files].assign(value=labels["bias"].to_numpy())
    sizes = rows["contradicted"].value_counts()
    weights = labelled["contradicted"].map(sizes / labelled["contradicted"].value_counts())
    labelled = labelled.assign(sampling_weight=weights.astype(float))
    conflicting = _conflicting(labelled, manifest, data_card, where)
    known = conflicting.notna()
    labelled, flags = labelled[known], conflicting[known].to_numpy(bool)
    right = (labelled["prediction"] == labelled["label"]).to_numpy()
    of_image = labelled["sampling_weight"].to_numpy()
    worst = _worst_group(labelled, right)
    return {
        "labelled": len(labelled),
        "drawn": int(labelled.index.isin(to_label["file"]).sum()),
        "represented": len(unseen),
        "aligned_accuracy": _accuracy(right, of_image, ~flags),
        "conflicting_accuracy": _accuracy(right, of_image, flags),
        "worst_group_accuracy": worst[1] if worst else None,
        "worst_group": worst[0] if worst else None,
        "auroc": _auroc(-labelled["rank"].to_numpy(float), of_image, flags),
    }


def _unseen(suspects: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of images that the networks were not trained on."""
    return suspects[suspects["split"] != "train"]


def _contradicted(suspects: pd.DataFrame) -> "pd.Series[bool]":
    return suspects["bias_prediction"] != suspects["label"]


def _spread_over_labels(
    rows: pd.DataFrame, count: int, random: np.random.Generator
) -> pd.DataFrame:
    """Draw `count` rows, each with the same probability, by a systematic sample over labels."""
    ordered = rows.iloc[random.permutation(len(rows))].sort_values("label", kind="stable")
    places = (random.random() + np.arange(count)) * len(rows) / max(count, 1)
    return ordered.iloc[places.astype(int)]


def _known_files(
    files: "pd.Series[str]", suspects: pd.DataFrame, unseen: pd.DataFrame, where: str
) -> list[str]:
    """Return files as in `suspects`, without the apostrophe that protects formulas."""
    known, of_data = set(unseen["file"]), set(suspects["file"])
    found = []
    for file in files:
        name = file if file in of_data else file.removeprefix("'")
        if name not in of_data:
            raise UserError(
                f"{where}: {file} is not an image of the data set; take the names of to_label.csv"
            )
        if name not in known:
            raise UserError(
                f"{where}: {file} is a training image, on which accuracy means nothing; label "
                "images of to_label.csv"
            )
        if name in found:
            raise UserError(f"{where}: {file} is there twice; delete one of the rows")
        found.append(name)
    return found


def _conflicting(
    labelled: pd.DataFrame, manifest: pd.DataFrame, data_card: DataCard, where: str
) -> "pd.Series[bool]":
    """Return whether each image is conflicting; null where the aligned value is not known."""
    values = labelled["value"]
    kinds = values.str.lower()
    is_kind = kinds.isin([ALIGNED, CONFLICTING])
    if is_kind.all():
        return (kinds == CONFLICTING).astype("boolean")
    names = data_card["bias_names"]
    unknown = values[is_kind] if not names else values[~values.isin(names)]
    if len(unknown):
        allowed = ", ".join(names) if names else "values of the bias such as those of other rows"
        raise UserError(
            f"{where}: bias {unknown.iloc[0]!r} of {unknown.index[0]} is unknown; use {ALIGNED} "
            f"and {CONFLICTING} in all rows, or {allowed}"
        )
    aligned = _aligned_values(manifest, data_card) if names else {}
    for label, of_label in labelled.groupby("label"):
        if label not in aligned:
            sums = of_label.groupby("value")["sampling_weight"].sum()
            largest = sums[np.isclose(sums, sums.max())]
            aligned[str(label)] = str(largest.index[0]) if len(largest) == 1 else None
    expected = labelled["label"].map(aligned)
    return (values != expected).astype("boolean").where(expected.notna())


def _aligned_values(manifest: pd.DataFrame, data_card: DataCard) -> dict[str, str | None]:
    """Return label → bias value of its aligned images, by name, where there are any."""
    aligned = manifest[manifest["conflicting"].eq(False).fillna(False)].groupby("label")["bias"]
    values = aligned.first()
    labels = names_of(data_card["label_names"], values.index.to_series())
    return dict(zip(labels, names_of(data_card["bias_names"], values), strict=True))


def _effective(weights: _Floats) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def _accuracy(right: _Flags, weights: _Floats, images: _Flags) -> Estimate | None:
    if not images.any():
        return None
    of_images = weights[images]
    value = float((right[images] * of_images).sum() / of_images.sum())
    low, high = wilson(value, _effective(of_images))
    count = int(images.sum())
    hits = int(right[images].sum())
    return {"value": value, "images": count, "right": hits, "low": low, "high": high}


def _worst_group(labelled: pd.DataFrame, right: _Flags) -> tuple[str, Estimate] | None:
    """Return name and accuracy of the worst (label, bias) group with labelled images.

    Of several worst groups it is the one with the most labelled images.
    """
    weights = labelled["sampling_weight"].to_numpy()
    groups: list[tuple[str, Estimate]] = []
    names = labelled["label"] + ", " + labelled["value"]
    for name in sorted(set(names)):
        estimate = _accuracy(right, weights, (names == name).to_numpy())
        if estimate is not None:
            groups.append((name, estimate))
    return min(groups, key=lambda each: (each[1]["value"], -each[1]["images"]), default=None)


def _auroc(scores: _Floats, weights: _Floats, conflicting: _Flags) -> Estimate | None:
    if conflicting.all() or not conflicting.any():
        return None
    # Imported here, as it takes more than a second that every command would wait for.
    from sklearn.metrics import roc_auc_score

    value = float(roc_auc_score(conflicting, scores, sample_weight=weights))
    sizes = _effective(weights[conflicting]), _effective(weights[~conflicting])
    low, high = auroc_interval(value, *sizes)
    return {"value": value, "images": len(scores), "right": None, "low": low, "high": high}
