"""How long the trials of a search will take."""

import math
import time
from collections.abc import Mapping
from typing import Any

from debias_pipeline.evaluation import predict
from debias_pipeline.images import ImageData
from debias_pipeline.methods import make_method
from debias_pipeline.records import DataCard
from debias_pipeline.tracked_training import TrainingSettings
from debias_pipeline.training import limited_threads, seconds_per_step


class Clock:
    """Estimate how long the trials that are left will take, from those that were made."""

    def __init__(self, estimates: dict[str, list[float]]) -> None:
        """Start with the estimates, before any trial is timed.

        Args:
            estimates: method → seconds of each of its trials that is left.
        """
        self._estimates = estimates
        self._estimated = self._spent = 0.0

    def estimated_left(self) -> float:
        """Return the estimated seconds of all trials that are left."""
        return sum(map(sum, self._estimates.values()))

    def left_after(self, method: str, seconds: float) -> float:
        """Return the seconds left after a trial of a method that took `seconds`."""
        self._estimated += self._estimates[method].pop()
        self._spent += seconds
        return self.estimated_left() * self._spent / self._estimated


def seconds_per_trial(
    recipes: Mapping[str, Mapping[str, Any]],
    data: ImageData,
    card: DataCard,
    settings: TrainingSettings,
) -> dict[str, float]:
    """Estimate the duration of a trial of each method from a few timed steps and one prediction.

    Args:
        recipes: method → its own recipe.
        data: training and validation images.
        card: facts about the data set.
        settings: training settings; `recipe` is replaced for each trial.

    Returns:
        Method → seconds of one trial, all seeds together, with evaluations.
    """
    # The shorter of two times, as MLflow and others are busy when a process starts.
    rounds = [
        {method: _seconds(recipe, data, card, settings) for method, recipe in recipes.items()}
        for _ in range(2)
    ]
    return {method: min(seconds[method] for seconds in rounds) for method in recipes}


def _seconds(
    recipe: Mapping[str, Any], data: ImageData, card: DataCard, settings: TrainingSettings
) -> float:
    classes = len(card["label_names"])
    method = make_method(recipe, card["image_shape"], classes, settings.seeds).to(data.device)
    with limited_threads(settings.threads):
        step = seconds_per_step(method, data, settings.precision)
        started = time.perf_counter()
        predict(method, data, "valid", settings.precision)
        evaluation = time.perf_counter() - started
    stages = method.stages()
    evaluations = sum(
        math.ceil(each.steps / method.recipe.eval_every) for each in stages if each.evaluated
    )
    return sum(each.steps for each in stages) * step + evaluations * evaluation
