"""Train and score trials of every method."""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from debias_pipeline.errors import AlreadyRunningError, UserError, one_line
from debias_pipeline.images import ImageData
from debias_pipeline.names import SPLITS
from debias_pipeline.records import DataCard, TunedMethod, Tuning, TuningTrial
from debias_pipeline.reporting import duration, title_of, training_command, typed_params
from debias_pipeline.selection_rules import PSEUDO_GROUPS, Flags
from debias_pipeline.tracked_training import Trained, TrainingSettings, run_training
from debias_pipeline.tracking import NOTE, describe, trial_run
from debias_pipeline.training import (
    SnapshotStore,
    TrainingThreads,
    choose_device,
    fingerprint_digest,
    training_named,
)
from debias_pipeline.tuning.clock import Clock, seconds_per_trial
from debias_pipeline.tuning.scoring import ScoredGroups, known_groups, pseudo_groups
from debias_pipeline.tuning.search import FinishedTrial, Search, delete_study, stored_groups

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

logger = logging.getLogger(__name__)

# The test split is not even passed to training.
_SPLITS = tuple(name for name in SPLITS if name != "test")


@dataclass(frozen=True)
class Tuner:
    """Search the ranges of every method, with the same number of trials.

    Attributes:
        images: uint8, N × H × W × 3, without the test split.
        manifest: row i describes images[i].
        card: facts about the data set.
        snapshots: stores snapshots of interrupted trials.
        storage: stores finished trials.
        tune: see `resolve_tune`.
        typed: what a command must contain to use the same data.
        settings: training settings; `recipe` is replaced for each trial.
    """

    images: npt.NDArray[np.uint8]
    manifest: pd.DataFrame
    card: DataCard
    snapshots: SnapshotStore
    storage: "BaseStorage"
    tune: dict[str, Any]
    typed: dict[str, Any]
    settings: TrainingSettings

    def run(self) -> Tuning:
        """Search all methods."""
        with self.snapshots.exclusive(fingerprint_digest(self._identity(self.tune["searches"]))):
            groups = self._groups()
            searches = {method: self._search(method) for method in self.tune["methods"]}
            clock = self._clock(searches)
            for method, search in searches.items():
                while len(search.trials()) < self.tune["trials"]:
                    self._run_trial(method, search, groups, clock)
            of_methods = {
                # There are more if an earlier search with the same settings was longer.
                method: self._result(method, search.trials()[: self.tune["trials"]])
                for method, search in searches.items()
            }
        return {
            "dataset": self.card["dataset"],
            "percent": self.card["percent"],
            "title": title_of(self.card),
            "selection": self.tune["selection"],
            "sampler": self.tune["sampler"],
            "seed": self.tune["seed"],
            "trials": self.tune["trials"],
            "seeds": list(self.settings.seeds),
            "precision": self.settings.precision,
            "bias_labels": "none" if self._has_pseudo_groups else "tuning",
            "conflicting_images": groups.conflicting,
            "methods": of_methods,
        }

    @property
    def _has_pseudo_groups(self) -> bool:
        return bool(self.tune["selection"] == PSEUDO_GROUPS.key)

    @cached_property
    def _data(self) -> ImageData:
        device = choose_device(self.settings.device)
        return ImageData.from_catalog(self.images, self.manifest, device, _SPLITS)

    def _identity(self, of_search: Any) -> dict[str, Any]:
        """Return what the trials of a search depend on; with other values it starts anew."""
        settings = self.settings
        return {
            "search": of_search,
            **{key: self.tune[key] for key in ("selection", "sampler", "seed")},
            "reference": self.tune["reference"] if self._has_pseudo_groups else None,
            "seeds": list(settings.seeds),
            "device": str(self._data.device),
            "precision": settings.precision,
            "threads": TrainingThreads(settings.threads, self._data.device).most,
            "torch": torch.__version__,
            "data": self.card.get("content_hash") or self.card,
        }

    def _name(self, title: str, of_search: Any) -> str:
        return f"{title} {fingerprint_digest(self._identity(of_search))}"

    def _search(self, method: str) -> Search:
        """Open the search of a method, which may have trials already."""
        of_method = self.tune["searches"][method]
        name = self._name(method, of_method)
        if not self.settings.resume:
            delete_study(self.storage, name)
        recipe, ranges = of_method["recipe"], of_method["ranges"]
        sampler, seed = self.tune["sampler"], self.tune["seed"]
        search = Search(self.storage, name, recipe, ranges, sampler, seed)
        if finished := len(search.trials()):
            logger.info(
                "%s: %d of %d trials are finished; it continues (resume=false starts again)",
                method, min(finished, self.tune["trials"]), self.tune["trials"],
            )  # fmt: skip
        return search

    # --- Scores -----------------------------------------------------------------------------------

    def _groups(self) -> ScoredGroups:
        if not self._has_pseudo_groups:
            valid = self._data.splits["valid"]
            return known_groups(valid, len(self.settings.seeds), self.tune["selection"])
        name = self._name("reference", self.tune["reference"])
        if not self.settings.resume:
            delete_study(self.storage, name)
        return pseudo_groups(stored_groups(self.storage, name, self._train_reference))

    def _train_reference(self) -> Flags:
        recipe = self.tune["reference"]
        logger.info("Training %s once, to estimate the groups of all trials", recipe["method"])
        with training_named("reference"), self._child_run("reference", recipe):
            aligned: Flags = self._train(recipe).run.pseudo_aligned
        self._clear_snapshots(recipe)
        return aligned

    # --- Trials -----------------------------------------------------------------------------------

    def _run_trial(self, method: str, search: Search, groups: ScoredGroups, clock: Clock) -> None:
        """Train and score the next trial of a method; if that fails, store the error."""
        name = f"{method} trial {len(search.trials()) + 1}"
        values, started = search.next_values(), time.perf_counter()
        recipe = {**self.tune["searches"][method]["recipe"], **values}
        try:
            with training_named(name), self._child_run(name, recipe) as run:
                checkpoint = self._train(recipe).checkpoint
                rule, precision = self.tune["selection"], self.settings.precision
                scores = groups.scores(checkpoint, rule, self._data, precision)
                run.log(metrics={"validation_score": float(np.mean(scores))})
        except AlreadyRunningError:
            raise
        except Exception as failure:  # the other trials can go on
            text = one_line(failure)
            error = text if isinstance(failure, UserError) else f"{type(failure).__name__}: {text}"
            trial = search.add(values, time.perf_counter() - started, error=error)
        else:
            steps = list(checkpoint.steps[rule])
            trial = search.add(values, time.perf_counter() - started, scores, steps)
        self._clear_snapshots(recipe)
        self._log_progress(method, search, trial, clock)

    def _log_progress(
        self, method: str, search: Search, trial: FinishedTrial, clock: Clock
    ) -> None:
        best = _best(search.trials())
        logger.log(
            logging.WARNING if trial.error else logging.INFO,
            "%s trial %d of %d: %s, with %s; best %s; %s, about %s left",
            method, trial.number, self.tune["trials"],
            f"failed ({trial.error})" if trial.error else f"score {trial.score:.4f}",
            typed_params(trial.values),
            f"{best.score:.4f} (trial {best.number})" if best else "none yet",
            duration(trial.seconds), duration(clock.left_after(method, trial.seconds)),
        )  # fmt: skip

    def _train(self, recipe: dict[str, Any]) -> Trained:
        settings = replace(self.settings, recipe=recipe)
        return run_training(
            self.images, self.manifest, self.card, self.snapshots, settings, splits=_SPLITS
        )

    def _child_run(self, name: str, recipe: Mapping[str, Any]) -> Any:
        """Return the context of an MLflow run below that of the whole search."""
        seeds = list(self.settings.seeds)
        title = title_of(self.card)
        stage = f"{name} of a search by the parent run, without test images,"
        tags = {
            "dataset": self.card["dataset"],
            "percent": self.card["percent"],
            "method": recipe["method"],
            "seeds": ",".join(map(str, seeds)),
            NOTE: describe([recipe["method"]], title, seeds, None, stage=stage),
        }
        return trial_run(f"{title}/{name}", tags, {"recipe": recipe})

    def _clear_snapshots(self, recipe: Mapping[str, Any]) -> None:
        """Delete the snapshots of a finished trial."""
        for path, fingerprint in self.snapshots.other_fingerprints("").items():
            seeds = list(self.settings.seeds)
            if fingerprint.get("recipe") == recipe and fingerprint.get("seeds") == seeds:
                with suppress(OSError):
                    self.snapshots.clear(PurePosixPath(path).name)

    def _clock(self, searches: Mapping[str, Search]) -> Clock:
        """Return a clock of the trials that are left, and log its estimate."""
        left = {
            method: max(0, self.tune["trials"] - len(search.trials()))
            for method, search in searches.items()
        }
        recipes = {
            method: self.tune["searches"][method]["recipe"]
            for method, count in left.items()
            if count
        }
        seconds = seconds_per_trial(recipes, self._data, self.card, self.settings)
        clock = Clock({method: [each] * left[method] for method, each in seconds.items()})
        logger.info(
            "%d trials are left, which take about %s (%s)",
            sum(left.values()), duration(clock.estimated_left()),
            ", ".join(
                f"{method} {left[method]} × {duration(each)}" for method, each in seconds.items()
            ) or "none",
        )  # fmt: skip
        return clock

    # --- Results ----------------------------------------------------------------------------------

    def _result(self, method: str, trials: list[FinishedTrial]) -> TunedMethod:
        best = _best(trials)
        rows = [_row(trial) for trial in trials]
        seeds = self.settings.seeds
        parameters = {
            **self.typed,
            **({"seed": seeds[0]} if seeds[0] else {}),
            **({"seeds": len(seeds)} if len(seeds) > 1 else {}),
        }
        if best is not None:
            parameters["recipe"] = {**self._typed_fields(method), **best.values}
        return {
            "ranges": self.tune["searches"][method]["ranges"],
            "trials": rows,
            "failed": sum(row["error"] is not None for row in rows),
            "best": None if best is None else _row(best),
            "params": typed_params({"recipe": best.values}) if best else None,
            "command": training_command(method, parameters) if best else None,
        }

    def _typed_fields(self, method: str) -> dict[str, Any]:
        """Return the recipe fields that the user has set and that this method uses."""
        recipe = self.tune["searches"][method]["recipe"]
        return {
            field: value
            for field, value in self.typed["recipe"].items()
            # A constant learning rate has no decays, and the command line refuses them.
            if field in recipe and (recipe[field] is not None or value is None)
        }


def _best(trials: list[FinishedTrial]) -> FinishedTrial | None:
    """Return the trial with the highest score, the first of equal ones; None if all failed."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: trial.score or 0.0, default=None)


def _row(trial: FinishedTrial) -> TuningTrial:
    return {
        "trial": trial.number,
        "values": dict(trial.values),
        "status": trial.status,
        "score": trial.score,
        "scores": list(trial.scores),
        "steps": list(trial.steps),
        "seconds": trial.seconds,
        "error": trial.error,
    }
