"""What happens on a Dask worker."""

import os
import threading
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import cloudpickle
import torch
from distributed import get_worker
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
from kedro.framework.project import configure_project, settings
from kedro.io import AbstractVersionedDataset
from kedro.runner.task import Task
from pluggy import PluginManager

from debias_pipeline.errors import user_error_behind
from debias_pipeline.tracking import ParentRun, parent_elsewhere, resumed_parent

# Nodes with this tag begin an MLflow run of their own.
CELL_TAG = "cell"

# Two cells in one process would share threads, memory and PyTorch's settings.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Origin:
    """What a worker has to know of the run that a task belongs to.

    Attributes:
        package: the project's package.
        folder: from which relative paths go.
        parent: the MLflow run of the whole; None where nothing is tracked.
        threads: of PyTorch; None leaves it as the worker was started.
    """

    package: str
    folder: str
    parent: ParentRun | None
    threads: int | None


@dataclass(frozen=True)
class Ending:
    """How a node ended on a worker.

    Attributes:
        worker: the worker's address.
        error: what went wrong, by cloudpickle; None if nothing did.
    """

    worker: str
    error: bytes | None = None


def run_task(pickled: bytes, origin: Origin) -> Ending:
    """Run one node: load its inputs, call its function, save its outputs.

    Errors are handed back, not raised: Dask cannot carry every one of them.

    Args:
        pickled: a Kedro `Task`, by cloudpickle.
        origin: the run that it belongs to.

    Returns:
        How it ended.
    """
    worker: str = get_worker().address
    with _one_at_a_time:
        try:
            _run(pickled, origin)
        except Exception as error:
            return Ending(worker, _pickled_error(error))
    return Ending(worker)


def _run(pickled: bytes, origin: Origin) -> None:
    hooks = _prepared_hooks(origin.package)
    _enter(origin)
    task: Task = cloudpickle.loads(pickled)
    task.hook_manager = hooks
    for name in task.node.outputs:
        _remove_what_a_killed_attempt_left(task.catalog.get(name))
    # The leaderboard carries the tag as well, so that choosing cells ends with it.
    begins_a_run = CELL_TAG in task.node.tags and task.node.namespace is not None
    with parent_elsewhere(origin.parent), nullcontext() if begins_a_run else resumed_parent():
        task.execute()


def _pickled_error(error: Exception) -> bytes:
    """The error as another process can read it: what explains it, else with its traceback."""
    mendable = user_error_behind(error)
    if mendable is not None:
        return _pickled(mendable)
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickled = _pickled(error)
        cloudpickle.loads(pickled)
    except Exception:
        plain = RuntimeError(repr(error))
        plain.add_note(error.__notes__[-1])
        return _pickled(plain)
    return pickled


def _pickled(error: BaseException) -> bytes:
    return cast(bytes, cloudpickle.dumps(error))


@cache
def _prepared_hooks(package: str) -> PluginManager:
    """The project's own hooks, made once per process.

    Those of plug-ins are left out: they count on hooks around the whole run, which a worker does
    not see, and kedro-mlflow's would begin a run of their own.
    """
    configure_project(package)
    manager = _create_hook_manager()
    _register_hooks(manager, settings.HOOKS)
    return manager


def _enter(origin: Origin) -> None:
    if Path(origin.folder).is_dir():
        os.chdir(origin.folder)
    if origin.threads is not None:
        torch.set_num_threads(origin.threads)


def _remove_what_a_killed_attempt_left(dataset: Any) -> None:
    """Kedro refuses to save a version twice, and one run has one version."""
    inside = getattr(dataset, "_dataset", dataset)
    version = getattr(inside, "_version", None)
    if not isinstance(inside, AbstractVersionedDataset) or version is None or not version.save:
        return
    path = str(inside._get_versioned_path(version.save))
    files = getattr(inside, "_fs", None)
    if files is not None and files.exists(path):
        files.rm(path, recursive=True)
