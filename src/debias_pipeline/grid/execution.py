"""Running a trial: its nodes one after the other, and an outcome whether they succeed or fail."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline.node import Node
from kedro.validation.exceptions import DataValidationError

from debias_pipeline.errors import (
    AlreadyRunningError,
    RecipeError,
    Unreadable,
    UserError,
    one_line,
)
from debias_pipeline.grid.catalog import load_or_none
from debias_pipeline.grid.memory import PeakMemory
from debias_pipeline.grid.parameters import OVERRIDES
from debias_pipeline.grid.trials import Trial
from debias_pipeline.names import DONE, FAILED
from debias_pipeline.records import TrainingRecord
from debias_pipeline.tracking import TrackedRun, active_run, trial_run
from debias_pipeline.training import limited_threads, training_named

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[Any, Any]
# Loads the inputs of a node, calls its function and saves its outputs.
Execute = Callable[[Node, Any], None]

# A node with this tag runs once all that it needs has ended: its missing inputs are None.
ALL_DONE: Final = "all_done"


@dataclass
class _Attempt:
    """A trial that is being run, and what it costs.

    Attributes:
        threads: of PyTorch.
        seconds: of earlier runs, for results that are used again.
    """

    threads: int
    seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    memory: PeakMemory = field(default_factory=PeakMemory)

    def cost(self, run: TrackedRun) -> dict[str, Any]:
        """Return seconds, memory, threads, and where MLflow keeps the run of the trial."""
        # Only then are its ids known.
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
) -> dict[str, Any]:
    """Log the final metrics of a trial, and say that it is done and what it cost.

    A runner that does not run trials by `run_trial` knows the cost of training only.
    """
    run, attempt = active_run(), _attempt.get()
    run.log(metrics={key: metric["value"] for key, metric in final_metrics.items()})
    recipe = training_record["recipe"]
    return {
        "dataset": dataset,
        "percent": percent,
        "method": recipe["method"],
        "seeds": training_record["seeds"],
        "precision": training_record["precision"],
        "steps": recipe["steps"],
        "status": DONE,
        "error": None,
        "seconds": training_record["seconds"],
        "peak_memory_bytes": None,
        "threads": training_record["threads"],
        "settings_digest": training_record["settings_digest"],
        "content_hash": training_record["data"]["content_hash"],
        "mlflow_run_id": run.run_id,
        "mlflow_experiment_id": run.experiment_id,
        **(attempt.cost(run) if attempt is not None else {}),
    }


def run_trial(
    trial: Trial,
    nodes: Sequence[Node],
    catalog: Catalog,
    execute: Execute,
    problem: Exception | None = None,
) -> None:
    """Run the nodes of a trial, in an MLflow run of its own.

    Whatever goes wrong is caught: the outcome says what it was, the nodes that follow are skipped,
    and the grid goes on. Only where another process trains the same trial, no outcome is saved
    that would replace the other's.

    Args:
        trial: with a recipe.
        nodes: of the trial that are to be run, in their order; the last one makes the outcome.
        catalog: of the run.
        execute: runs a node.
        problem: why the data of the trial could not be made.

    Raises:
        AlreadyRunningError: if another process trains this trial.
    """
    what = {
        "dataset": trial.dataset,
        "percent": trial.percent,
        "method": trial.method,
        "seeds": [*trial.seeds],
    }
    tags = {**what, "seeds": ",".join(map(str, trial.seeds)), "cell": trial.name}
    recipe: Mapping[str, Any] = trial.recipe or {}
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
                trial_run(trial.name, tags) as run,
            ):
                run.log(params=recipe)
                if problem is not None:
                    raise problem
                for node in nodes:
                    execute(node, _ExplainingCatalog(catalog))
                    if f"{trial.name}.training_record" in node.outputs:
                        record = load_or_none(catalog, f"{trial.name}.training_record")
        except AlreadyRunningError:
            raise
        except Exception as failure:
            error = explained(failure)
            logger.warning("%s failed: %s", trial.name, error)
            outcome = {
                **what,
                "precision": trial.precision,
                "steps": recipe.get("steps"),
                "status": FAILED,
                "error": error,
                # None unless only what follows training has failed.
                "settings_digest": record["settings_digest"] if record else None,
                "content_hash": record["data"]["content_hash"] if record else None,
                **attempt.cost(run),
            }
            catalog.save(f"{trial.name}.outcome", outcome)
        finally:
            _attempt.reset(token)


class _ExplainingCatalog:
    """A catalog that names the file that cannot be read, and why."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def load(self, name: str) -> Any:
        """Load a dataset.

        Raises:
            UserError: if it cannot be read.
        """
        try:
            return self._catalog.load(name)
        except (DatasetError, DataValidationError) as error:
            # Kedro's message describes the whole dataset before it comes to the cause.
            cause = error.__cause__ if isinstance(error, DatasetError) else None
            text = one_line(cause or error)
            file = str(getattr(self._catalog.get(name), "_filepath", name))
            raise UserError(text if file in text else f"{file} cannot be read: {text}") from error


class LenientCatalog(_ExplainingCatalog):
    """A catalog that loads None for what is missing, and `Unreadable` for what cannot be read."""

    def load(self, name: str) -> Any:
        """Load a dataset, None, or why it cannot be read."""
        if not self._catalog.exists(name):
            return None
        try:
            return super().load(name)
        except UserError as error:
            return Unreadable(str(error))


@contextmanager
def without_node_errors() -> Iterator[None]:
    """Keep Kedro from logging a failed node at length: one line is logged in its place."""
    kedro = logging.getLogger("kedro.pipeline.node")
    level = kedro.level
    kedro.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        kedro.setLevel(level)


def explained(error: Exception) -> str:
    """Return one line on an error, naming recipe fields as a grid sets them."""
    if isinstance(error, RecipeError):
        error = error.with_key(OVERRIDES)
    text = one_line(error)
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
