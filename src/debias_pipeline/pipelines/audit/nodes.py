"""Nodes of the audit pipeline: plan, train, decide, report."""

import logging
import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.audit import (
    AuditPlan,
    Verdict,
    decide,
    held_out_folds,
    interrupted_audit,
    parse_budget,
    plan_audit,
    predict_all,
)
from debias_pipeline.evaluation import first_suspects, rank_suspects
from debias_pipeline.images import ImageData
from debias_pipeline.records import DataCard, LabelEstimates, TrainingRecord
from debias_pipeline.reporting import (
    duration,
    first_suspects_in_words,
    suspect_section,
    write_audit_report,
)
from debias_pipeline.selection_rules import LAST
from debias_pipeline.tracked_training import TrainingSettings, run_training
from debias_pipeline.training import SnapshotStore, choose_device, restore_method

logger = logging.getLogger(__name__)


def plan(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    snapshots: SnapshotStore,
    recipe: dict[str, Any],
    typed: dict[str, Any],
    budget: str,
    seed: int,
    device: str,
    precision: str,
    threads: Any,
    resume: bool,
) -> AuditPlan:
    """Log a summary of the data, and choose a recipe whose training fits the budget.

    The number of steps is chosen for every data set; network and image size only for a folder of
    the user's images. If the budget is too small for a reliable verdict, log a warning. An
    interrupted audit continues with the recipe that was chosen for it.

    Args:
        images: uint8, N × H × W × 3.
        manifest: row i describes images[i].
        data_card: facts about the data set.
        snapshots: stores snapshots of interrupted audits.
        recipe: recipe of DisEnt for this data set.
        typed: recipe fields that the user has set; they are kept.
        budget: time for the training, such as 10min.
        seed: seed of the first replica.
        device: auto, cpu, cuda or mps.
        precision: fp32 or bf16.
        threads: `auto`, or the number of threads on the CPU.
        resume: whether an interrupted audit continues.

    Raises:
        UserError: if `budget` is not a time.
    """
    _say_what_was_found(manifest, data_card)
    data = ImageData.from_catalog(images, manifest, choose_device(device))
    # Other data sets have recipes of their own.
    chooses_network = data_card["dataset"] == "folder"
    settings = {
        "data": data_card.get("content_hash"),
        "device": str(data.device),
        "precision": precision,
        **({} if threads == "auto" else {"threads": threads}),
    }
    chooses_steps = "steps" not in typed
    interrupted = interrupted_audit(snapshots, seed, settings, typed) if resume else None
    if interrupted is not None:
        logger.info(
            "Continuing an interrupted audit with its recipe; resume=false starts a new one"
        )
        typed, threads = interrupted["recipe"], interrupted["threads"]
        chooses_network = False
    chosen = plan_audit(
        data,
        recipe,
        typed,
        classes=len(data_card["label_names"]),
        chooses_network=chooses_network,
        chooses_steps=chooses_steps,
        budget=parse_budget(budget),
        seed=seed,
        precision=precision,
        threads=threads,
    )
    logger.info(
        "Training %s on the images for %s steps takes about %s (budget=%s)",
        chosen["recipe"]["network"],
        f"{chosen['recipe']['steps']:,}",
        duration(chosen["seconds"]),
        budget,
    )
    if not chosen["enough"]:
        logger.warning(
            "The budget is too small for a reliable verdict on this machine; use budget=%dmin",
            math.ceil(chosen["needed"] / 60),
        )
    return chosen


def _say_what_was_found(manifest: pd.DataFrame, data_card: DataCard) -> None:
    labels = Counter(data_card["label_names"][label] for label in manifest["label"])
    logger.info(
        "Found %s images: %s",
        f"{len(manifest):,}",
        ", ".join(f"{name} {images:,}" for name, images in labels.most_common(12))
        + (f" and {len(labels) - 12} other labels" if len(labels) > 12 else ""),
    )
    splits = manifest["split"].value_counts()
    logger.info(
        "Splits: %s; %s",
        ", ".join(f"{name} {splits[name]:,}" for name in ("train", "valid", "test")),
        data_card["origin"],
    )


def train_audit(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    snapshots: SnapshotStore,
    audit_plan: AuditPlan,
    seed: int,
    device: str,
    precision: str,
    resume: bool,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, pd.DataFrame, TrainingRecord]:
    """Train DisEnt once on all training images, and once without each fold of them.

    All these networks are trained together, as replicas.

    Returns:
        checkpoint and sample_weights of the networks that are trained on all training images;
        suspects, see `rank_suspects`; held_out_predictions, see `predict_all`; training_record.
    """
    train = manifest[manifest["split"] == "train"]
    held_out = held_out_folds(train["label"].to_numpy(np.int64), audit_plan["folds"], seed)
    seeds = range(seed, seed + len(held_out))
    settings = TrainingSettings(
        audit_plan["recipe"], seeds, device, precision, audit_plan["threads"], resume
    )
    trained = run_training(images, manifest, data_card, snapshots, settings, held_out)
    weights = trained.run.sample_weights
    weights = weights[weights["seed"] == seed].reset_index(drop=True)
    checkpoint = trained.checkpoint.of_seed(LAST.key, seed)
    method = restore_method(checkpoint, LAST.key, trained.data.device)
    suspects = rank_suspects(method, trained.data, manifest, weights, data_card, precision)
    predictions = predict_all(trained.method, trained.data, held_out, precision)
    return checkpoint.to_catalog(), weights, suspects, predictions, trained.record


def reach_verdict(
    predictions: pd.DataFrame,
    suspects: pd.DataFrame,
    manifest: pd.DataFrame,
    audit_plan: AuditPlan,
) -> Verdict:
    """Return the verdict, see `decide`, and how many of the first suspects are conflicting."""
    verdict = decide(predictions, enough_steps=audit_plan["enough"])
    if first := first_suspects(suspects, manifest):
        verdict["first_suspects"] = first
        verdict["evidence"].append(f"By the bias labels, {first_suspects_in_words(first)}")
    return verdict


def report(
    verdict: Verdict,
    suspects: pd.DataFrame,
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    audit_plan: AuditPlan,
    saliency: dict[str, Any],
    label_estimates: LabelEstimates,
) -> str:
    """Write the HTML report of the audit."""
    return write_audit_report(
        verdict["sentence"],
        verdict["evidence"],
        suspect_section(
            suspects,
            images,
            manifest,
            data_card,
            saliency,
            verdict.get("first_suspects"),
            label_estimates,
        ),
        data_card,
        {
            "images": f"{len(manifest):,}",
            "network": audit_plan["recipe"]["network"],
            "steps": f"{audit_plan['recipe']['steps']:,}",
            "folds": str(audit_plan["folds"]),
        },
    )
