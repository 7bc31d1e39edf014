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
from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline.node import Node
from kedro.runner.task import Task
from pluggy import PluginManager

from debias_pipeline.errors import user_error_behind
from debias_pipeline.runners.groups import Catalog, Group
from debias_pipeline.tracking import ParentRun, parent_elsewhere, resumed_parent

# Two trials in one process would share threads, memory and PyTorch's settings.
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
class GroupTask:
    """What a worker runs.

    Attributes:
        group: the nodes.
        catalog: with what the nodes load and save.
        is_async: whether a node loads and saves by threads.
        run_id: of Kedro's run.
    """

    group: Group
    catalog: DataCatalog
    is_async: bool
    run_id: str | None


@dataclass(frozen=True)
class Ending:
    """How a group of nodes ended on a worker.

    Attributes:
        worker: the worker's address.
        error: what went wrong, by cloudpickle; None if nothing did.
    """

    worker: str
    error: bytes | None = None


def run_task(pickled: bytes, origin: Origin) -> Ending:
    """Run the nodes of a trial, or another node.

    Errors are handed back, not raised: Dask cannot carry every one of them.

    Args:
        pickled: a `GroupTask`, by cloudpickle.
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
    task: GroupTask = cloudpickle.loads(pickled)

    def execute(node: Node, catalog: Catalog) -> None:
        Task(node, catalog, task.is_async, hooks, task.run_id).execute()

    for node in task.group.nodes:
        for name in node.outputs:
            _remove_what_a_killed_attempt_left(task.catalog.get(name))
    # A trial begins an MLflow run of its own.
    own_run = nullcontext() if task.group.trial is not None else resumed_parent()
    with parent_elsewhere(origin.parent), own_run:
        task.group.run(task.catalog, execute)


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
    version = getattr(dataset, "_version", None)
    if not isinstance(dataset, AbstractVersionedDataset) or version is None or not version.save:
        return
    path = str(dataset._get_versioned_path(version.save))
    files = getattr(dataset, "_fs", None)
    if files is not None and files.exists(path):
        files.rm(path, recursive=True)
