"""Tables and metrics of the catalog from predictions, over seeds and selection rules."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.collapse import collapsed_seeds
from debias_pipeline.evaluation.metrics import (
    accuracies,
    adjusted_average_accuracy,
    conflict_detection_auroc,
    evidence,
    group_accuracy_table,
)
from debias_pipeline.evaluation.predict import Predictions
from debias_pipeline.images import Split, conflict_codes
from debias_pipeline.methods import get_method
from debias_pipeline.names import BIAS_BRANCH_ACCURACY, METRICS
from debias_pipeline.records import AttributeMetrics, DataCard, Metrics, OverSeeds, RuleMetrics
from debias_pipeline.selection_rules import MIN_SUPPORT, SELECTION_RULES

# Test split and training split.
_Splits: TypeAlias = tuple[Split, Split | None]


def prediction_table(
    predictions: Predictions,
    split: Split,
    *,
    checkpoint: str,
    seeds: Sequence[int],
    steps: Sequence[int],
) -> pd.DataFrame:
    """Return predictions of one selection rule as a table.

    Args:
        predictions: of R replicas.
        split: the images predicted.
        checkpoint: the selection rule.
        seeds: one per replica.
        steps: the selected step of each replica.

    Returns:
        R · n rows with image_id, seed, checkpoint, step, prediction, bias_branch_prediction (null
        if the method has no such branch).
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
    data_card: DataCard,
    method: str,
    support: Mapping[str, Sequence[int]] | None = None,
    dead_units: Mapping[str, Sequence[float]] | None = None,
) -> Metrics:
    """Return the catalog's `metrics`.

    Args:
        predictions: predictions of the test split, see `prediction_table`.
        manifest: manifest of the data set.
        sample_weights: sample weights of the training run.
        data_card: data card of the data set.
        method: name of the method.
        support: selection rule → number of conflicting validation images that it rests on, for
            each seed in ascending order; a rule that uses none is absent.
        dead_units: selection rule → share of dead feature units of each seed in ascending order;
            a rule of which it is not known is absent.
    """
    support = support or {}
    splits = _splits(manifest)
    of_attributes = {name: _splits(manifest, name) for name in data_card.get("attributes", {})}
    metrics: Metrics = {
        "dataset": data_card["dataset"],
        "percent": data_card["percent"],
        # Data cards of earlier versions lack the key.
        "title": data_card.get("title", f"{data_card['dataset']}, {data_card['percent']}"),
        "bias_name": data_card["bias_name"],
        "method": method,
        "bias_labels": get_method(method).bias_labels,
        "headline": data_card["headline"],
        # Data cards of earlier versions lack the key.
        "unbiased_test": data_card["test_split"]["unbiased"] if "test_split" in data_card else None,
        "seeds": sorted(predictions["seed"].unique().tolist()),
        "checkpoints": {
            rule: _summarise_rule(
                _of_rule(predictions, rule), splits, of_attributes, support.get(rule)
            )
            for rule in SELECTION_RULES
        },
        "conflict_detection_auroc": over_seeds(_aurocs(sample_weights)),
    }
    metrics["dead_units"], metrics["collapsed"] = _dead_units(metrics, dead_units or {})
    return metrics


def group_accuracy(
    predictions: pd.DataFrame, manifest: pd.DataFrame, data_card: DataCard
) -> pd.DataFrame:
    """Return the catalog's `group_accuracy`: a row per selection rule, seed and group.

    For a data set with several bias attributes, there are also the groups of each attribute.

    Args:
        predictions: predictions of the test split, see `prediction_table`.
        manifest: manifest of the data set.
        data_card: data card of the data set.

    Returns:
        Rows with checkpoint, seed, label, bias, images, correct, accuracy (null for an empty
        group), train_images, attribute; no rows without bias labels. The rows of the attribute that
        is treated as the bias, which is the `bias_name` of the data card, are the first.
    """
    name, names = data_card["bias_name"], data_card["bias_names"]
    others = data_card.get("attributes", {}).items()
    kinds = [("", name, names), *((key, key, each) for key, each in others if key != name)]
    tables = []
    for column, attribute, values in kinds:
        split, train = _splits(manifest, column)
        for rule in SELECTION_RULES:
            selected = _of_rule(predictions, rule)
            if selected.empty:
                continue
            for seed, row in zip(_seeds(selected), _by_seed(selected, split).labels, strict=True):
                table = group_accuracy_table(
                    row, split, len(data_card["label_names"]), len(values), train
                )
                table.insert(0, "seed", seed)
                table.insert(0, "checkpoint", rule)
                tables.append(table.assign(attribute=attribute))
    return pd.concat(tables, ignore_index=True)


def final_metrics(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Return means over seeds in MLflow's format: `last.accuracy` → value and step.

    Metrics that are null are left out.
    """
    means = {"conflict_detection_auroc": metrics["conflict_detection_auroc"]["mean"]}
    for rule, of_rule in metrics["checkpoints"].items():
        if of_rule:
            means |= {
                f"{rule}.{name}": of_rule[name]["mean"] for name in METRICS if name in of_rule
            }
            means[f"{rule}.{BIAS_BRANCH_ACCURACY}"] = of_rule[BIAS_BRANCH_ACCURACY]["mean"]
            for attribute, of_attribute in of_rule.get("attributes", {}).items():
                values = cast(Mapping[str, OverSeeds], of_attribute)
                means |= {
                    f"{rule}.{attribute}.{name}": each["mean"] for name, each in values.items()
                }
    return {name: {"value": value, "step": 0} for name, value in means.items() if value is not None}


def over_seeds(values: Iterable[float]) -> OverSeeds:
    """Return mean, sample standard deviation (null for one seed) and the value of every seed.

    If the value of a seed is NaN, it becomes null, and so do mean and deviation.
    """
    per_seed = [float(value) for value in values]
    if not per_seed:
        return {"mean": None, "std": None, "per_seed": []}
    mean = float(np.mean(per_seed))
    std = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else float("nan")
    return {"mean": _null(mean), "std": _null(std), "per_seed": [_null(each) for each in per_seed]}


def _summarise_rule(
    predictions: pd.DataFrame,
    splits: _Splits,
    of_attributes: Mapping[str, _Splits],
    support: Sequence[int] | None,
) -> RuleMetrics | None:
    if predictions.empty:
        return None
    split, train = splits
    steps = predictions.groupby("seed")["step"].first()
    by_seed = _by_seed(predictions, split)
    metrics, of_bias = accuracies(by_seed, split), _of_attribute(by_seed, splits)
    unknown = np.full(len(steps), np.nan)

    def value_of(metric: str) -> OverSeeds:
        return over_seeds(metrics.get(metric, unknown))

    summary: RuleMetrics = {
        "step": over_seeds(steps),
        "accuracy": value_of("accuracy"),
        "group_balanced_accuracy": of_bias["group_balanced_accuracy"],
        "adjusted_average_accuracy": of_bias["adjusted_average_accuracy"],
        "aligned_accuracy": of_bias["aligned_accuracy"],
        "conflicting_accuracy": of_bias["conflicting_accuracy"],
        "worst_group_accuracy": of_bias["worst_group_accuracy"],
        "bias_branch_accuracy": value_of(BIAS_BRANCH_ACCURACY),
        "support": None if support is None else over_seeds(support),
        "reliable": support is None or min(support) >= MIN_SUPPORT,
        "evidence": evidence(by_seed, split, train),
    }
    if of_attributes:
        summary["attributes"] = {
            name: _of_attribute(by_seed, each) for name, each in of_attributes.items()
        }
    return summary


def _of_attribute(predictions: Predictions, splits: _Splits) -> AttributeMetrics:
    """Return the metrics that depend on the bias, for the one that the splits contain."""
    metrics = accuracies(predictions, splits[0])
    adjusted = adjusted_average_accuracy(predictions, *splits)
    return {
        "group_balanced_accuracy": over_seeds(metrics["group_balanced_accuracy"]),
        "adjusted_average_accuracy": over_seeds(adjusted),
        "aligned_accuracy": over_seeds(metrics["aligned_accuracy"]),
        "conflicting_accuracy": over_seeds(metrics["conflicting_accuracy"]),
        "worst_group_accuracy": over_seeds(metrics["worst_group_accuracy"]),
    }


def _splits(manifest: pd.DataFrame, attribute: str = "") -> _Splits:
    """Return the test split and the training split (None if it is empty).

    Args:
        manifest: manifest of the data set.
        attribute: whose values are the bias; "" for the one that is treated as the bias.
    """
    has_train = bool((manifest["split"] == "train").any())
    return (
        Split.from_manifest(manifest, "test", attribute=attribute),
        Split.from_manifest(manifest, "train", attribute=attribute) if has_train else None,
    )


def _dead_units(
    metrics: Metrics, dead_units: Mapping[str, Sequence[float]]
) -> tuple[dict[str, OverSeeds], dict[str, list[int]]]:
    """Return the dead feature units and the seeds that collapsed, of rules of which it is known."""
    shares, collapsed = {}, {}
    for rule, of_rule in metrics["checkpoints"].items():
        if of_rule is None or rule not in dead_units:
            continue
        shares[rule] = over_seeds(dead_units[rule])
        accuracies = of_rule[metrics["headline"]]["per_seed"]
        collapsed[rule] = collapsed_seeds(metrics["seeds"], accuracies, dead_units[rule])
    return shares, collapsed


def _of_rule(predictions: pd.DataFrame, rule: str) -> pd.DataFrame:
    return predictions[predictions["checkpoint"] == rule]


def _seeds(predictions: pd.DataFrame) -> list[int]:
    return sorted(predictions["seed"].unique().tolist())


def _by_seed(predictions: pd.DataFrame, split: Split) -> Predictions:
    """Return predictions in the order of seeds and of the split's images."""
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
