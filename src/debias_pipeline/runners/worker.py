"""Run a group of nodes on a Dask worker."""

import logging
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
from distributed import Reschedule, Status, get_worker
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
from kedro.framework.project import configure_project, settings
from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline.node import Node
from kedro.runner.task import Task
from pluggy import PluginManager

from debias_pipeline.errors import user_error_behind
from debias_pipeline.grid import Catalog
from debias_pipeline.runners.groups import Group
from debias_pipeline.stopping import Stopped, stopping_when
from debias_pipeline.tracking import ParentRun, parent_elsewhere, resumed_parent

logger = logging.getLogger(__name__)

_CLOSING = (Status.closing_gracefully, Status.closing, Status.closed)

# Two trials in one process would share threads, memory and PyTorch's settings.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Origin:
    """Facts about the run that a task belongs to.

    Attributes:
        package: name of the project's package.
        folder: working directory of the run, to which paths are relative.
        parent: MLflow run of the command; None if the run is not tracked.
        threads: number of PyTorch threads; None keeps the number that the worker was started with.
    """

    package: str
    folder: str
    parent: ParentRun | None
    threads: int | None


@dataclass(frozen=True)
class GroupTask:
    """A group of nodes to run on a worker.

    Attributes:
        group: the nodes.
        catalog: the entries that the nodes load and save.
        is_async: whether a node loads and saves data in threads.
        run_id: id of the Kedro run.
    """

    group: Group
    catalog: DataCatalog
    is_async: bool
    run_id: str | None


@dataclass(frozen=True)
class GroupResult:
    """The result of running a group of nodes on a worker.

    Attributes:
        worker: address of the worker.
        error: the error, pickled by cloudpickle; None on success.
    """

    worker: str
    error: bytes | None = None


def run_task(pickled: bytes, origin: Origin) -> GroupResult:
    """Run the nodes of a trial, or another node.

    Errors are returned instead of raised, as Dask cannot pickle all of them. If the worker is
    closed during training, training saves a snapshot and stops.

    Args:
        pickled: a `GroupTask`, pickled by cloudpickle.
        origin: the run that the task belongs to.

    Raises:
        Reschedule: if training was stopped; Dask continues it on another worker if there is one.
    """
    worker = get_worker()
    address: str = worker.address
    with _one_at_a_time, stopping_when(lambda: worker.status in _CLOSING):
        try:
            _run(pickled, origin)
        except Stopped as stopped:
            logger.info("%s (Dask is closing this worker.)", stopped)
            raise Reschedule from stopped
        except Exception as error:
            return GroupResult(address, _pickled_error(error))
    return GroupResult(address)


def _run(pickled: bytes, origin: Origin) -> None:
    hooks = _prepared_hooks(origin.package)
    _enter(origin)
    task: GroupTask = cloudpickle.loads(pickled)

    def execute(node: Node, catalog: Catalog) -> None:
        Task(node, catalog, task.is_async, hooks, task.run_id).execute()

    for node in task.group.nodes:
        for name in node.outputs:
            _remove_incomplete_output(task.catalog.get(name))
    # A trial starts its own MLflow run.
    method = task.group.nodes[0].namespace or ""
    own_run = nullcontext() if task.group.trial is not None else resumed_parent(method)
    with parent_elsewhere(origin.parent), own_run:
        task.group.run(task.catalog, execute)


def _pickled_error(error: Exception) -> bytes:
    """Pickle an error so that another process can load it.

    If a UserError is among its causes, only that one is pickled. Other errors get a note with the
    traceback, and are replaced by a RuntimeError if they cannot be pickled.
    """
    user_error = user_error_behind(error)
    if user_error is not None:
        return _pickled(user_error)
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
    """Return the project's own hooks, created once per process.

    Hooks of plugins are not registered: they rely on hooks around the whole run, which a worker
    does not call, and kedro-mlflow's would start their own MLflow run.
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


def _remove_incomplete_output(dataset: Any) -> None:
    """Remove the output of a killed attempt, as Kedro does not save the same version twice."""
    version = getattr(dataset, "_version", None)
    if not isinstance(dataset, AbstractVersionedDataset) or version is None or not version.save:
        return
    path = str(dataset._get_versioned_path(version.save))
    files = getattr(dataset, "_fs", None)
    if files is not None and files.exists(path):
        files.rm(path, recursive=True)
