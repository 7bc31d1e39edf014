"""Apply the selection rules during a training run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from debias_pipeline.evaluation.predict import Predictions
from debias_pipeline.images import Split
from debias_pipeline.selection_rules import (
    PSEUDO_GROUPS,
    SELECTED,
    SELECTION_RULES,
    Evaluation,
    Flags,
    SelectionRule,
)

# A network replaces the reference if its validation accuracy is higher by more than this.
_REFERENCE_MARGIN = 0.05


class Selections:
    """Decide at each evaluation step which selection rules select the present networks.

    The groups of `pseudo_groups` change with every step, so the best earlier evaluation is scored
    again with the present groups.
    """

    def __init__(self, replicas: int, valid: Split, headline: str) -> None:
        """Set up.

        Args:
            replicas: R.
            valid: the validation split.
            headline: the test metric that the rule `best_on_test` maximises.
        """
        self._replicas, self._labels, self._headline = replicas, valid.labels, headline
        self._conflicting = int((valid.conflicting == 1).sum())
        self._best: dict[str, dict[int, Evaluation]] = {rule.key: {} for rule in _SCORED}
        self._groups = _PseudoGroups(replicas, len(valid))

    def observe(
        self, step: int, rows: Sequence[Mapping[str, float]], predictions: Predictions
    ) -> dict[str, list[int]]:
        """Return which networks of an evaluation step are selected, and remember the step.

        Args:
            step: number of training steps made so far.
            rows: metrics of each replica, such as `valid_aligned_accuracy`. Without metrics of the
                test split, `best_on_test` selects nothing.
            predictions: predictions of the validation split.

        Returns:
            rule → replicas whose networks of this step it selects, rather than earlier ones. The
            rule `last` is not included.
        """
        correct = predictions.labels == self._labels
        branch = predictions.bias_branch
        self._groups.update(correct, None if branch is None else branch == self._labels)
        aligned = self._groups.aligned()
        return {
            rule.key: [
                replica
                for replica, row in enumerate(rows)
                if self._select(
                    rule, replica, self._evaluation(step, row, correct[replica]), aligned[replica]
                )
            ]
            for rule in _SCORED
        }

    def pseudo_aligned(self) -> Flags:
        """Return which validation images are pseudo-aligned by the evaluations so far, [R, n]."""
        return self._groups.aligned()

    def support(self) -> dict[str, list[int]]:
        """Return rule → number of conflicting validation images that it uses, by replica.

        Rules that do not use groups of the validation split are not included.
        """
        pseudo = (~self._groups.aligned()).sum(1)
        return {
            SELECTED.key: [self._conflicting] * self._replicas,
            PSEUDO_GROUPS.key: pseudo.tolist(),
        }

    def available(self) -> list[str]:
        """Return the rules that have selected a step for every replica, always including `last`."""
        support = self.support()
        return [
            rule
            for rule in SELECTION_RULES
            if rule not in self._best
            or (len(self._best[rule]) == self._replicas and all(support.get(rule, [1])))
        ]

    def state_dict(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Return tensors and JSON values from which the rules can be resumed."""
        tensors, rows = self._groups.state_dict(), []
        for rule, of_replica in self._best.items():
            for replica, best in of_replica.items():
                tensors[f"correct/{rule}/{replica}"] = torch.from_numpy(best.correct)
                rows.append(
                    {
                        "rule": rule,
                        "replica": replica,
                        "step": best.step,
                        "valid_aligned": best.valid_aligned,
                        "valid_conflicting": best.valid_conflicting,
                        "test": best.test,
                    }
                )
        return tensors, rows

    def load_state_dict(
        self, tensors: Mapping[str, Tensor], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Restore the result of `state_dict`."""
        self._groups.load_state_dict(tensors)
        for saved in rows:
            row = dict(saved)
            rule, replica = row.pop("rule"), row.pop("replica")
            correct = tensors[f"correct/{rule}/{replica}"].numpy()
            self._best[rule][replica] = Evaluation(**row, correct=correct)

    def _evaluation(self, step: int, row: Mapping[str, float], correct: Flags) -> Evaluation:
        return Evaluation(
            step=step,
            valid_aligned=row["valid_aligned_accuracy"],
            valid_conflicting=row["valid_conflicting_accuracy"],
            test=row.get(f"test_{self._headline}", math.nan),
            correct=correct,
        )

    def _select(self, rule: SelectionRule, replica: int, now: Evaluation, aligned: Flags) -> bool:
        """Return whether a rule selects an evaluation rather than all earlier ones."""
        assert rule.score is not None
        score, best = rule.score(now, aligned), self._best[rule.key].get(replica)
        if math.isnan(score):
            return False
        highest = rule.score(best, aligned) if best else -math.inf
        if best is None or score > highest:
            self._best[rule.key][replica] = now
            return True
        chance = rule.chance(best.correct, now.correct, aligned) if rule.chance else 0.0
        return score > highest - chance


_SCORED = [rule for rule in SELECTION_RULES.values() if rule.score]


class _PseudoGroups:
    """Estimate which validation images are bias-aligned, without bias labels.

    An image is pseudo-aligned if the bias branch has predicted it correctly in at least half of
    the evaluations so far. Without a bias branch, an early network is the reference, as it has
    learned the bias and little else: images that it predicts correctly are pseudo-aligned. It is
    the first network whose validation accuracy no later one exceeds by more than a margin.
    """

    def __init__(self, replicas: int, images: int) -> None:
        self._votes = np.zeros((replicas, images), np.int32)
        self._evaluations = 0
        self._reference = np.zeros((replicas, images), bool)

    def update(self, correct: Flags, bias_correct: Flags | None) -> None:
        """Add an evaluation: which images the method and its bias branch get right, [R, n]."""
        if bias_correct is None:
            better = correct.mean(1) > self._reference.mean(1) + _REFERENCE_MARGIN
            self._reference[better] = correct[better]
        else:
            self._votes += bias_correct
            self._evaluations += 1

    def aligned(self) -> Flags:
        """Return the pseudo-aligned images, [R, n]."""
        if not self._evaluations:
            return self._reference
        aligned: npt.NDArray[np.bool_] = 2 * self._votes >= self._evaluations
        return aligned

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "votes": torch.from_numpy(self._votes),
            "evaluations": torch.tensor(self._evaluations),
            "reference": torch.from_numpy(self._reference),
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        self._votes = tensors["votes"].numpy().copy()
        self._evaluations = int(tensors["evaluations"])
        self._reference = tensors["reference"].numpy().copy()
