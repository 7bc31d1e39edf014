"""Run the nodes of a trial in order, and save an outcome whether they succeed or fail."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from kedro.io import DatasetError
from kedro.pipeline.node import Node
from kedro.validation.exceptions import DataValidationError

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import (
    AlreadyRunningError,
    RecipeError,
    Unreadable,
    UserError,
    one_line,
)
from debias_pipeline.grid.catalog import Catalog, load_or_none
from debias_pipeline.grid.memory import PeakMemory
from debias_pipeline.grid.parameters import OVERRIDES
from debias_pipeline.grid.trials import Trial
from debias_pipeline.names import DONE, FAILED
from debias_pipeline.records import Outcome, TrainingRecord
from debias_pipeline.reporting import (
    changes_in_words,
    draw_figures,
    find_recipe_changes,
)
from debias_pipeline.tracking import NOTE, TrackedRun, active_run, describe, trial_run
from debias_pipeline.training import limited_threads, training_named

logger = logging.getLogger(__name__)

# A function that loads the inputs of a node, calls its function and saves its outputs.
Execute = Callable[[Node, Any], None]

# A node with this tag runs after the nodes before it have succeeded or failed; its missing inputs
# are None.
ALL_DONE: Final = "all_done"

# Tags of a trial's MLflow run that are also parameters, as in ordinary runs.
_SETTINGS: Final = ("dataset", "percent")


class _Identity(TypedDict):
    """The part of an outcome that says which trial it belongs to."""

    dataset: str
    percent: str
    method: str
    seeds: list[int]
    precision: str
    steps: int


class _Cost(TypedDict):
    """The part of an outcome that is measured, and the ids of the trial's MLflow run."""

    seconds: float
    peak_memory_bytes: int | None
    threads: int
    mlflow_run_id: str | None
    mlflow_experiment_id: str | None


@dataclass
class _Attempt:
    """Measure time and memory of a running trial.

    Attributes:
        threads: number of threads that PyTorch uses.
        seconds: duration of earlier training, if its results are reused or it was resumed.
    """

    threads: int
    seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    memory: PeakMemory = field(default_factory=PeakMemory)

    def cost(self, run: TrackedRun) -> _Cost:
        """Return seconds, memory, threads, and the ids of the trial's MLflow run."""
        # The ids are unknown until the run has been created.
        run.wait()
        return {
            "seconds": self.seconds + time.perf_counter() - self.started,
            "peak_memory_bytes": self.memory.bytes(),
            "threads": self.threads,
            "mlflow_run_id": run.run_id,
            "mlflow_experiment_id": run.experiment_id,
        }


_attempt: ContextVar[_Attempt | None] = ContextVar("attempt", default=None)


def record_outcome(
    dataset: str,
    percent: str,
    training_record: TrainingRecord,
    final_metrics: dict[str, dict[str, float]],
) -> Outcome:
    """Log the final metrics of a trial and return its outcome: status, settings and cost.

    If the runner does not use `run_trial`, only the duration of training is known.
    """
    run, attempt = active_run(), _attempt.get()
    run.log_final_metrics({key: metric["value"] for key, metric in final_metrics.items()})
    recipe = training_record["recipe"]
    identity: _Identity = {
        "dataset": dataset,
        "percent": percent,
        "method": recipe["method"],
        "seeds": training_record["seeds"],
        "precision": training_record["precision"],
        "steps": recipe["steps"],
    }
    cost: _Cost = {
        "seconds": training_record["seconds"],
        "peak_memory_bytes": None,
        "threads": training_record["threads"],
        "mlflow_run_id": run.run_id,
        "mlflow_experiment_id": run.experiment_id,
    }
    return _outcome(identity, attempt.cost(run) if attempt else cost, training_record)


def _outcome(
    identity: _Identity, cost: _Cost, record: TrainingRecord | None, error: str | None = None
) -> Outcome:
    """Return the outcome of a trial, which has failed if there is an error.

    Args:
        identity: which trial it is.
        cost: what the trial cost.
        record: the training record; None if training failed.
        error: one line.
    """
    return {
        **identity,
        "status": DONE if error is None else FAILED,
        "error": error,
        "settings_digest": record["settings_digest"] if record else None,
        "content_hash": record["data"]["content_hash"] if record else None,
        "image_passes": record.get("image_passes") if record else None,
        **cost,
    }


def run_trial(
    trial: Trial,
    nodes: Sequence[Node],
    catalog: Catalog,
    execute: Execute,
    problem: Exception | None = None,
) -> None:
    """Run the nodes of a trial in its own MLflow run.

    If a node fails, the error is caught and saved in the outcome, the remaining nodes are skipped,
    and the grid continues. If another process trains the same trial, no outcome is saved, as it
    would overwrite the one of that process.

    Args:
        trial: the trial; it must have a recipe.
        nodes: nodes of the trial to run, in order; the last one makes the outcome.
        catalog: catalog of the run.
        execute: runs a node.
        problem: the error with which making the trial's data failed, or None.

    Raises:
        AlreadyRunningError: if another process trains this trial.
    """
    recipe: Mapping[str, Any] = trial.recipe or {}
    has_percents = get_dataset(trial.dataset).has_percents
    tags = {
        "dataset": trial.dataset,
        **({"percent": trial.percent} if has_percents else {}),
        "method": trial.method,
        "seeds": ",".join(map(str, trial.seeds)),
        "cell": trial.name,
    }
    stage = "a trial of the parent run, which has the command,"
    changes = find_recipe_changes(recipe, {**recipe, **trial.replaced_defaults})
    in_words = {trial.method: changes_in_words(changes)}
    tags[NOTE] = describe([trial.method], _data_name(trial), trial.seeds, in_words, stage=stage)
    trains = f"{trial.name}.training_record" in {name for each in nodes for name in each.outputs}
    record = None if trains else load_or_none(catalog, f"{trial.name}.training_record")
    run = TrackedRun()
    with limited_threads(trial.threads) as threads:
        attempt = _Attempt(threads, record["seconds"] if record else 0.0)
        token = _attempt.set(attempt)
        try:
            with (
                without_node_errors(),
                training_named(trial.name),
                trial_run(f"{_data_name(trial)}/{trial.method}", tags) as run,
            ):
                settings = {key: value for key, value in tags.items() if key in _SETTINGS}
                run.log(params={**settings, "precision": trial.precision, "recipe": recipe})
                if problem is not None:
                    raise problem
                for node in nodes:
                    execute(node, _ExplainingCatalog(catalog))
                    if f"{trial.name}.training_record" in node.outputs:
                        record = load_or_none(catalog, f"{trial.name}.training_record")
                        attempt.seconds = record.get("seconds_before", 0.0) if record else 0.0
                _log_figures(trial, catalog, run)
        except AlreadyRunningError:
            raise
        except Exception as failure:
            error = explained(failure)
            logger.warning("%s failed: %s; the run continues", trial.name, error)
            identity: _Identity = {
                "dataset": trial.dataset,
                "percent": trial.percent,
                "method": trial.method,
                "seeds": [*trial.seeds],
                "precision": trial.precision,
                "steps": recipe["steps"],
            }
            outcome = _outcome(identity, attempt.cost(run), record, error)
            catalog.save(f"{trial.name}.outcome", outcome)
        finally:
            _attempt.reset(token)


def _log_figures(trial: Trial, catalog: Catalog, run: TrackedRun) -> None:
    """Draw the figures of a trial and log them to its MLflow run.

    Does nothing if the run is not tracked or a result is missing. If drawing fails, log a warning.
    """
    if run.key is None:
        return
    entries = (
        *(f"{trial.name}.{name}" for name in ("metrics", "history", "sample_weights")),
        f"{trial.name}.group_accuracy",
        *(f"{trial.setting}.{name}" for name in ("images", "manifest", "data_card")),
    )
    inputs = [load_or_none(catalog, name) for name in entries]
    if any(each is None for each in inputs):
        return
    try:
        figures = draw_figures(*inputs)
    except Exception as error:  # the results of the trial are complete without them
        logger.warning("%s: MLflow gets no figures: %s", trial.name, one_line(error))
        return
    for name, svg in figures.items():
        run.log_text(svg, f"figures/{name}.svg")


def _data_name(trial: Trial) -> str:
    """Return the name of a trial's data for people, such as `cmnist 2pct`."""
    return trial.data_folder.removeprefix("folder/").replace("/", " ")


class _ExplainingCatalog:
    """A catalog whose errors name the file that cannot be read and the cause."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def load(self, name: str) -> Any:
        """Return the data of a dataset.

        Raises:
            UserError: if the dataset cannot be read.
        """
        try:
            return self._catalog.load(name)
        except (DatasetError, DataValidationError) as error:
            # Kedro's message describes the whole dataset before the cause.
            cause = error.__cause__ if isinstance(error, DatasetError) else None
            text = one_line(cause or error)
            file = str(getattr(self._catalog.get(name), "_filepath", name))
            raise UserError(text if file in text else f"{file} cannot be read: {text}") from error


class LenientCatalog(_ExplainingCatalog):
    """A catalog that loads None for a missing dataset, and `Unreadable` for an unreadable one."""

    def load(self, name: str) -> Any:
        """Return the data of a dataset, None or `Unreadable`."""
        if not self._catalog.exists(name):
            return None
        try:
            return super().load(name)
        except UserError as error:
            return Unreadable(str(error))


@contextmanager
def without_node_errors() -> Iterator[None]:
    """Suppress Kedro's long log messages about failed nodes; `run_trial` logs one line."""
    kedro = logging.getLogger("kedro.pipeline.node")
    level = kedro.level
    kedro.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        kedro.setLevel(level)


def explained(error: Exception) -> str:
    """Return the message of an error as one line, with recipe fields under the grid's key."""
    if isinstance(error, RecipeError):
        error = error.with_key(OVERRIDES)
    text = one_line(error)
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
