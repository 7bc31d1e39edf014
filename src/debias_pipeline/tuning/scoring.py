"""Score trained networks on the validation split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation import predict
from debias_pipeline.images import ImageData, Split
from debias_pipeline.selection_rules import PSEUDO_GROUPS, Flags, group_score
from debias_pipeline.training import Checkpoint, restore_method


def without_test(
    images: npt.NDArray[np.uint8], manifest: pd.DataFrame
) -> tuple[npt.NDArray[np.uint8], pd.DataFrame]:
    """Return images and manifest without the test split."""
    rows = np.flatnonzero((manifest["split"] != "test").to_numpy())
    # Usually the test split comes last, and a slice of a memory map is no copy.
    is_slice = np.array_equal(rows, np.arange(len(rows)))
    kept = images[: len(rows)] if is_slice else images[rows]
    return kept, manifest.iloc[rows].reset_index(drop=True)


@dataclass(frozen=True)
class ScoredGroups:
    """The groups of validation images in which all trials of a search are scored.

    Attributes:
        images: int64, [n], positions in the validation split of the images that count.
        aligned: bool, [R, n], the other images are conflicting.
    """

    images: npt.NDArray[np.int64]
    aligned: Flags

    @property
    def conflicting(self) -> int:
        """Return the number of conflicting images, the lowest of all seeds."""
        return int((~self.aligned).sum(1).min())

    def scores(
        self, checkpoint: Checkpoint, rule: str, data: ImageData, precision: str
    ) -> list[float]:
        """Return the harmonic mean of the accuracies on both groups, for each seed.

        Args:
            checkpoint: checkpoint of a training run.
            rule: selection rule of the networks to score.
            data: with a validation split.
            precision: fp32 or bf16.

        Raises:
            UserError: if the rule has selected no networks.
        """
        if rule not in checkpoint.steps:
            raise UserError(f"the rule {rule} selected no step; use another tune.selection")
        method = restore_method(checkpoint, rule, data.device)
        predicted = predict(method, data, "valid", precision).labels
        correct = (predicted == data.splits["valid"].labels)[:, self.images]
        return [
            group_score(of_seed, aligned)
            for of_seed, aligned in zip(correct, self.aligned, strict=True)
        ]


def known_groups(valid: Split, seeds: int, selection: str) -> ScoredGroups:
    """Return the groups of a validation split with bias labels.

    Args:
        valid: the validation split.
        seeds: R.
        selection: for the error message.

    Raises:
        UserError: if there are not both aligned and conflicting images.
    """
    images = np.flatnonzero(valid.conflicting >= 0)
    aligned = valid.conflicting[images] == 0
    for name, count in (("aligned", aligned.sum()), ("conflicting", (~aligned).sum())):
        if not count:
            raise UserError(
                f"tune.selection={selection} needs validation images that are known to be "
                f"bias-{name}, and there are none; use tune.selection={PSEUDO_GROUPS.key}"
            )
    return ScoredGroups(images, np.tile(aligned, (seeds, 1)))


def pseudo_groups(aligned: Flags) -> ScoredGroups:
    """Return groups that were estimated by a training without bias labels.

    Args:
        aligned: bool, [R, n], see `TrainingRun.pseudo_aligned`.

    Raises:
        UserError: if a group is empty.
    """
    if aligned.all(1).any() or not aligned.any(1).all():
        raise UserError(
            "The bias branch of the reference training predicts all validation images correctly, "
            "or none; use more steps, other seeds, or tune.selection=selected"
        )
    return ScoredGroups(np.arange(aligned.shape[1]), aligned)
