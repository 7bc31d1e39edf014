"""From predictions to the catalog's metrics, over seeds and selection rules."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.evaluation.metrics import (
    BIAS_BRANCH_ACCURACY,
    METRIC_NAMES,
    accuracies,
    conflict_detection_auroc,
    group_accuracy_table,
)
from debias_pipeline.evaluation.predict import Predictions
from debias_pipeline.images import Split, conflict_codes
from debias_pipeline.selection_rules import MIN_SUPPORT, SELECTION_RULES


def prediction_table(
    predictions: Predictions,
    split: Split,
    *,
    checkpoint: str,
    seeds: Sequence[int],
    steps: Sequence[int],
) -> pd.DataFrame:
    """Predictions of one checkpoint choice as rows.

    Args:
        predictions: of R replicas.
        split: the images predicted.
        checkpoint: the choice.
        seeds: one per replica.
        steps: after how many steps each replica's networks were kept.

    Returns:
        image_id, seed, checkpoint, step, prediction, bias_branch_prediction (null where the
        method has no such branch); R · n rows.
    """
    branch = predictions.bias_branch
    tables = [
        pd.DataFrame(
            {
                "image_id": split.image_ids,
                "seed": seed,
                "checkpoint": checkpoint,
                "step": step,
                "prediction": predictions.labels[replica].astype(np.int16),
                "bias_branch_prediction": pd.array(
                    [pd.NA] * len(split) if branch is None else branch[replica], dtype="Int16"
                ),
            }
        )
        for replica, (seed, step) in enumerate(zip(seeds, steps, strict=True))
    ]
    return pd.concat(tables, ignore_index=True)


def summarise(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    sample_weights: pd.DataFrame,
    data_card: Mapping[str, Any],
    method: str,
    support: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """The catalog's `metrics`: every figure as mean, std and per seed; null where unknown.

    Args:
        predictions: of the test split, see `prediction_table`.
        manifest: of the data set.
        sample_weights: of the training run.
        data_card: names the data set and its headline, and says whether its test split is
            unbiased; null where that is not known.
        method: name of the method.
        support: selection rule → number of conflicting validation images that it rests on, for
            each seed in ascending order; a rule that uses none is absent.
    """
    support = support or {}
    split = Split.from_manifest(manifest, "test")
    return {
        "dataset": data_card["dataset"],
        "percent": data_card["percent"],
        "method": method,
        "headline": data_card["headline"],
        "unbiased_test": data_card.get("test_split", {}).get("unbiased"),
        "seeds": sorted(predictions["seed"].unique().tolist()),
        "checkpoints": {
            rule: _summarise_rule(_of_choice(predictions, rule), split, support.get(rule))
            for rule in SELECTION_RULES
        },
        "conflict_detection_auroc": over_seeds(_aurocs(sample_weights)),
    }


def group_accuracy(
    predictions: pd.DataFrame, manifest: pd.DataFrame, data_card: Mapping[str, Any]
) -> pd.DataFrame:
    """The catalog's `group_accuracy`: a row per choice, seed and (label, bias) cell.

    Args:
        predictions: of the test split, see `prediction_table`.
        manifest: of the data set.
        data_card: names labels and bias attribute values.

    Returns:
        checkpoint, seed, label, bias, images, correct, accuracy (null for an empty cell);
        no rows without bias labels.
    """
    split = Split.from_manifest(manifest, "test")
    labels, biases = len(data_card["label_names"]), len(data_card["bias_names"])
    tables = []
    for choice in SELECTION_RULES:
        chosen = _of_choice(predictions, choice)
        if chosen.empty:
            continue
        for seed, row in zip(_seeds(chosen), _by_seed(chosen, split).labels, strict=True):
            table = group_accuracy_table(row, split, labels, biases)
            table.insert(0, "seed", seed)
            table.insert(0, "checkpoint", choice)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def final_figures(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Means over seeds as MLflow metrics: `last.accuracy` → value and step."""
    figures = {"conflict_detection_auroc": metrics["conflict_detection_auroc"]["mean"]}
    for choice, values in metrics["checkpoints"].items():
        for name in (*METRIC_NAMES, BIAS_BRANCH_ACCURACY) if values else ():
            figures[f"{choice}.{name}"] = values[name]["mean"]
    return {
        name: {"value": value, "step": 0} for name, value in figures.items() if value is not None
    }


def over_seeds(values: Iterable[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (null for one seed), and every seed's value.

    A seed's value that is NaN becomes null, and with it the mean and the deviation.
    """
    per_seed = [float(value) for value in values]
    if not per_seed:
        return {"mean": None, "std": None, "per_seed": []}
    mean = float(np.mean(per_seed))
    std = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else float("nan")
    return {"mean": _null(mean), "std": _null(std), "per_seed": [_null(each) for each in per_seed]}


def _summarise_rule(
    predictions: pd.DataFrame, split: Split, support: Sequence[int] | None
) -> dict[str, Any] | None:
    if predictions.empty:
        return None
    steps = predictions.groupby("seed")["step"].first()
    metrics = accuracies(_by_seed(predictions, split), split)
    unknown = np.full(len(steps), np.nan)
    names = (*METRIC_NAMES, BIAS_BRANCH_ACCURACY)
    return {
        "step": over_seeds(steps),
        **{name: over_seeds(metrics.get(name, unknown)) for name in names},
        "support": None if support is None else over_seeds(support),
        "reliable": support is None or min(support) >= MIN_SUPPORT,
    }


def _of_choice(predictions: pd.DataFrame, choice: str) -> pd.DataFrame:
    return predictions[predictions["checkpoint"] == choice]


def _seeds(predictions: pd.DataFrame) -> list[int]:
    return sorted(predictions["seed"].unique().tolist())


def _by_seed(predictions: pd.DataFrame, split: Split) -> Predictions:
    """Predictions in the order of the split's images."""
    seeds = _seeds(predictions)
    # In one column: pandas is slow at tables with a column per image.
    rows = pd.MultiIndex.from_product([seeds, split.image_ids])
    found = predictions.set_index(["seed", "image_id"]).reindex(rows)

    def of(column: str) -> npt.NDArray[np.int64]:
        values: npt.NDArray[np.int64] = found[column].to_numpy(np.int64)
        return values.reshape(len(seeds), -1)

    has_bias_branch = bool(predictions["bias_branch_prediction"].notna().all())
    return Predictions(of("prediction"), of("bias_branch_prediction") if has_bias_branch else None)


def _aurocs(sample_weights: pd.DataFrame) -> list[float]:
    return [
        conflict_detection_auroc(
            of_seed["weight"].to_numpy(np.float64),
            conflict_codes(of_seed["conflicting"]),
        )
        for _, of_seed in sample_weights.groupby("seed")
    ]


def _null(value: float) -> float | None:
    return value if np.isfinite(value) else None
