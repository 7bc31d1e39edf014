"""Figures for MLflow."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow

NOT_FIGURES = ("step", "seed")


class StepMetrics:
    """Logs loss terms and accuracies to the active MLflow run while training goes on.

    The names are `<method>.seed<seed>.<column of the history>`.
    """

    def __init__(self, method: str) -> None:
        """Set up.

        Args:
            method: name of what is trained.
        """
        self._method = method

    def on_step(self) -> None:
        """A single step is not logged."""

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log new rows of the history, if a run is active."""
        if mlflow.active_run() is None:
            return
        figures = {
            f"{self._method}.seed{row['seed']}.{name}": value
            for row in rows
            for name, value in row.items()
            if name not in NOT_FIGURES and not math.isnan(value)
        }
        mlflow.log_metrics(figures, step=step)
