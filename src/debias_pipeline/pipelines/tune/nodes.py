"""The node of the pipeline `tune`: train and score trials of every method."""

import logging
import math
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
from debias_pipeline.evaluation import predict
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Task, get_method
from debias_pipeline.names import SPLITS
from debias_pipeline.pipelines.training import Trained, TrainingSettings, run_training
from debias_pipeline.records import DataCard, TunedMethod, Tuning, TuningTrial
from debias_pipeline.reporting import duration, title_of, training_command, typed_params
from debias_pipeline.selection_rules import PSEUDO_GROUPS, Flags
from debias_pipeline.tracking import NOTE, describe, trial_run
from debias_pipeline.training import (
    SnapshotStore,
    TrainingThreads,
    choose_device,
    fingerprint_digest,
    limited_threads,
    seconds_per_step,
    training_named,
)
from debias_pipeline.tuning import (
    FinishedTrial,
    ScoredGroups,
    Search,
    known_groups,
    pseudo_groups,
    stored_groups,
    without_test,
)

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

logger = logging.getLogger(__name__)

# The test split is not even passed to training.
_SPLITS = tuple(name for name in SPLITS if name != "test")


def search_recipes(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    snapshots: SnapshotStore,
    study: Any,  # Optuna is imported where it is used
    tune: dict[str, Any],
    typed: dict[str, Any],
    seed: int,
    seeds: int,
    device: str,
    precision: str,
    threads: Any,  # Kedro warns of a union
    resume: bool,
) -> Tuning:
    """Search the ranges of every method, with the same number of trials.

    Args:
        images: uint8, N × H × W × 3.
        manifest: row i describes images[i].
        data_card: facts about the data set.
        snapshots: stores snapshots of interrupted trials.
        study: stores finished trials.
        tune: see `tuning.resolve_tune`.
        typed: what a command must contain to use the same data.
        seed: the first seed of training.
        seeds: number of seeds, whose scores are averaged.
        device: auto, cpu, cuda or mps.
        precision: fp32 or bf16.
        threads: `auto`, or the number of threads on the CPU.
        resume: whether to continue an interrupted search with the same settings.

    Raises:
        UserError: if the validation split cannot be scored.
    """
    images, manifest = without_test(images, manifest)
    settings = TrainingSettings({}, range(seed, seed + seeds), device, precision, threads, resume)
    tuner = _Tuner(images, manifest, data_card, snapshots, study, tune, typed, settings)
    return tuner.run()


@dataclass(frozen=True)
class _Tuner:
    """See `search_recipes`; `images` and `manifest` have no test split."""

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
            clock = _Clock(self._estimates(searches))
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
            _delete_study(self.storage, name)
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
            _delete_study(self.storage, name)
        return pseudo_groups(stored_groups(self.storage, name, self._train_reference))

    def _train_reference(self) -> Flags:
        recipe = self.tune["reference"]
        logger.info("Training %s once, to estimate the groups of all trials", recipe["method"])
        with training_named("reference"), self._child_run("reference", recipe):
            aligned: Flags = self._train(recipe).run.pseudo_aligned
        self._clear_snapshots(recipe)
        return aligned

    # --- Trials -----------------------------------------------------------------------------------

    def _run_trial(
        self, method: str, search: Search, groups: ScoredGroups, clock: "_Clock"
    ) -> None:
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
        self, method: str, search: Search, trial: FinishedTrial, clock: "_Clock"
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

    # --- Estimate ---------------------------------------------------------------------------------

    def _estimates(self, searches: Mapping[str, Search]) -> dict[str, list[float]]:
        """Return the estimated seconds of each trial that is left, by method, and log the sum."""
        left = {
            method: max(0, self.tune["trials"] - len(search.trials()))
            for method, search in searches.items()
        }
        # The shorter of two times, as MLflow and others are busy when a process starts.
        rounds = [
            {method: self._seconds_per_trial(method) for method, count in left.items() if count}
            for _ in range(2)
        ]
        estimates = {
            method: [min(seconds[method] for seconds in rounds)] * count if count else []
            for method, count in left.items()
        }
        logger.info(
            "%d trials are left, which take about %s (%s)",
            sum(left.values()), duration(sum(map(sum, estimates.values()))),
            ", ".join(
                f"{method} {len(each)} × {duration(each[0])}"
                for method, each in estimates.items() if each
            ) or "none",
        )  # fmt: skip
        return estimates

    def _seconds_per_trial(self, method: str) -> float:
        """Time a few steps of the method's own recipe, and one prediction."""
        recipe = self.tune["searches"][method]["recipe"]
        method_type = get_method(method)
        typed = method_type.recipe_type.model_validate(recipe)
        height, width, channels = self.card["image_shape"]
        shape = typed.network_input((height, width, channels))
        task = Task(shape, len(self.card["label_names"]), self.settings.seeds)
        networks = method_type(typed, task).to(self._data.device)
        with limited_threads(self.settings.threads):
            step = seconds_per_step(networks, typed, self._data, self.settings.precision)
            started = time.perf_counter()
            predict(networks, self._data, "valid", self.settings.precision)
            evaluation = time.perf_counter() - started
        stages = networks.stages()
        evaluations = sum(math.ceil(each.steps / typed.eval_every) for each in stages)
        return sum(each.steps for each in stages) * step + evaluations * evaluation

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


class _Clock:
    """How long the trials that are left will take, judged by those that were made."""

    def __init__(self, estimates: dict[str, list[float]]) -> None:
        self._estimates = estimates
        self._estimated = self._spent = 0.0

    def left_after(self, method: str, seconds: float) -> float:
        """Return the seconds left after a trial of a method that took `seconds`."""
        self._estimated += self._estimates[method].pop()
        self._spent += seconds
        left = sum(map(sum, self._estimates.values()))
        return left * self._spent / self._estimated


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


def _delete_study(storage: "BaseStorage", name: str) -> None:
    import optuna

    with suppress(KeyError):
        optuna.delete_study(study_name=name, storage=storage)
