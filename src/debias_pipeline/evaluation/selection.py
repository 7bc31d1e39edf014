"""The state of all selection rules during a training run."""

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

# A network that gets this much more of the validation split right than the reference replaces it.
_REFERENCE_MARGIN = 0.05


class Selections:
    """Decides at each evaluation step for which selection rules the networks are to be kept.

    Networks can be kept only at their own step, but the groups of `pseudo_groups` change with
    every step: the best earlier evaluation is scored again under the groups as they are now.
    """

    def __init__(self, replicas: int, valid: Split, headline: str) -> None:
        """Set up.

        Args:
            replicas: R.
            valid: the validation split.
            headline: the test metric that `best_on_test` goes by.
        """
        self._replicas, self._labels, self._headline = replicas, valid.labels, headline
        self._conflicting = int((valid.conflicting == 1).sum())
        self._best: dict[str, dict[int, Evaluation]] = {rule.key: {} for rule in _SCORED}
        self._groups = _PseudoGroups(replicas, len(valid))

    def observe(
        self, step: int, rows: Sequence[Mapping[str, float]], predictions: Predictions
    ) -> dict[str, list[int]]:
        """Take in an evaluation step.

        Args:
            step: number of training steps made so far.
            rows: of each replica, metrics by name, such as `valid_aligned_accuracy`.
            predictions: of the validation split.

        Returns:
            rule → the replicas whose networks of this step it selects for now. The rule `last` is
            not among them.
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

    def support(self) -> dict[str, list[int]]:
        """Return the number of conflicting validation images that a rule rests on, by replica.

        Rules that do not divide the validation split into groups are absent.
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
        """Return tensors and plain JSON values from which the rules can go on."""
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
        """Restore what `state_dict` gave."""
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
            test=row[f"test_{self._headline}"],
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
    """Which validation images go with the bias, as far as the networks themselves can tell.

    An image is pseudo-aligned if the bias branch has predicted it correctly in at least half of
    the evaluations so far. A method without a bias branch is compared with an early network of
    its own, which has learned the bias and little else: the first one that no later one surpasses
    in plain validation accuracy by more than a margin.
    """

    def __init__(self, replicas: int, images: int) -> None:
        self._votes = np.zeros((replicas, images), np.int32)
        self._evaluations = 0
        self._reference = np.zeros((replicas, images), bool)

    def update(self, correct: Flags, bias_correct: Flags | None) -> None:
        """Take in an evaluation; arguments are [R, n], the second of the bias branch."""
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
