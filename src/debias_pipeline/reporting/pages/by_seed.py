"""Values by selection rule and seed, between which the switches of a page choose.

Values are keyed by "<selection rule>/<seed>", such as "last/0", and "last/mean" for all seeds.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from debias_pipeline.intervals import wilson
from debias_pipeline.records import DataCard
from debias_pipeline.reporting.figures.charts import MEAN
from debias_pipeline.reporting.text import DASH, attribute_name, interval_text
from debias_pipeline.selection_rules import LAST

FIRST: Final = f"{LAST.key}/{MEAN}"
# Larger matrices do not fit on a page, and have few images per entry.
_MOST_LABELS: Final = 20
_MOST_MISTAKES: Final = 12


def group_values(group_accuracy: pd.DataFrame) -> dict[str, dict[tuple[int, int], list[Any]]]:
    """Return accuracy, text and interval of each group (label, bias), by rule and seed.

    Args:
        group_accuracy: from `groups_of_bias`; may be empty.
    """
    by_group = _with_keys(group_accuracy).groupby(["key", "label", "bias"])
    table = by_group.agg(
        images=("images", "max"), mean=("accuracy", "mean"), std=("accuracy", "std")
    )
    values: dict[str, dict[tuple[int, int], list[Any]]] = {}
    for (key, label, bias), images, mean, std in table.itertuples():
        texts = _group_texts(int(images), mean, std)
        values.setdefault(key, {})[int(label), int(bias)] = texts
    return values


def _group_texts(images: int, mean: float, std: float) -> list[Any]:
    if np.isnan(mean):
        return [None, DASH, ""]
    spread = "" if np.isnan(std) else f" ± {100 * std:.1f}"
    interval = interval_text(*wilson(mean, images))
    return [round(mean, 4), f"{100 * mean:.1f}{spread} %", interval]


def _with_keys(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column `key`: a page shows the rows whose key has the chosen rule and seed.

    With several seeds each row occurs twice: with the key of all seeds and with that of its own.
    """
    rule = table["checkpoint"].astype("str")
    keyed = table.assign(key=rule + f"/{MEAN}")
    if table["seed"].nunique() < 2:
        return keyed
    of_seeds = table.assign(key=rule + "/" + table["seed"].astype("str"))
    return pd.concat([keyed, of_seeds], ignore_index=True)


@dataclass(frozen=True)
class Confusion:
    """How often a branch predicts which label.

    Attributes:
        name: name of the branch.
        labels: names of the labels.
        counts: by rule and seed, [true label][predicted label]; of all seeds the sum.
        mistakes: the most frequent mistakes of the last step: label, predicted label, and how many
            of the images of the label.
    """

    name: str
    labels: list[str]
    counts: dict[str, list[list[int]]]
    mistakes: list[tuple[str, str, str]]

    @property
    def has_matrix(self) -> bool:
        """Return whether there are few enough labels for a matrix."""
        return len(self.labels) <= _MOST_LABELS

    @property
    def first(self) -> list[tuple[str, list[tuple[int, float]]]]:
        """Return name of the label, and count and share of each predicted label, at the last step.

        Shares are those of the images of the label, 0 if there are none.
        """
        return [
            (name, [(count, count / max(1, sum(row))) for count in row])
            for name, row in zip(self.labels, self.counts[FIRST], strict=True)
        ]


def confusions(
    predictions: pd.DataFrame, manifest: pd.DataFrame, data_card: DataCard
) -> list[Confusion]:
    """Return the confusion matrix of each branch on the test split.

    Args:
        predictions: a row per test image, seed and selection rule.
        manifest: manifest of the data set.
        data_card: facts about the data set.
    """
    truth = manifest.set_index("image_id")["label"]
    table = predictions.assign(label=truth.loc[predictions["image_id"]].to_numpy())
    classes = len(data_card["label_names"])
    names = [attribute_name(data_card, "label", value) for value in range(classes)]
    branches = {"prediction": "Debiased branch", "bias_branch_prediction": "Bias branch"}
    known = {column: name for column, name in branches.items() if _is_known(table, column)}
    if len(known) == 1:
        known = {"prediction": "Predictions"}
    found = []
    for column, branch in known.items():
        counts = {}
        for key, part in _with_keys(table).groupby("key"):
            codes = part["label"].to_numpy(np.int64) * classes + part[column].to_numpy(np.int64)
            matrix = np.bincount(codes, minlength=classes**2).reshape(classes, classes)
            counts[str(key)] = matrix.tolist()
        mistakes = _mistakes(np.array(counts[FIRST]), names)
        found.append(Confusion(branch, names, counts, mistakes))
    return found


def _is_known(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().all()) and not table.empty


def _mistakes(counts: Any, names: list[str]) -> list[tuple[str, str, str]]:
    of_label = counts.sum(1)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_MISTAKES]
    pairs = [divmod(int(place), len(counts)) for place in order]
    return [
        (names[label], names[predicted], f"{wrong[label, predicted]:,} of {of_label[label]:,}")
        for label, predicted in pairs
        if wrong[label, predicted]
    ]
