"""Connect to a running Dask cluster, or start a local one."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster

from debias_pipeline.errors import UserError

logger = logging.getLogger(__name__)

# The import of distributed sets its level to INFO, after conf/logging.yml was read.
_dask_logger = logging.getLogger("distributed")
_dask_logger.setLevel(logging.WARNING)
_QUIET = {"DASK_LOGGING__DISTRIBUTED": "warning"}

SCHEDULER_ADDRESS = "DASK_SCHEDULER_ADDRESS"
GPU = "GPU"

# How long to wait for the scheduler, in seconds.
_TIMEOUT = 10


@contextmanager
def connected(workers: int, gpus: bool) -> Iterator[Client]:
    """Yield a client of the cluster at DASK_SCHEDULER_ADDRESS, or of a new local cluster.

    On exit the client and the local cluster are closed.

    Args:
        workers: number of worker processes of a local cluster; each runs one node at a time.
        gpus: whether the workers of a local cluster offer a GPU.

    Raises:
        UserError: if the scheduler does not answer.
    """
    address = scheduler_address()
    if address:
        with _connect(address) as client:
            yield client
        return
    with _local_cluster(workers, gpus) as cluster, Client(cluster) as client:
        logger.info("Dask cluster on this machine: %d workers", workers)
        yield client


def scheduler_address() -> str | None:
    """Return the address of a running scheduler, or None to start a local cluster."""
    return os.environ.get(SCHEDULER_ADDRESS) or None


def default_workers(nodes: int, threads: int | None, gpus: bool) -> int:
    """Return the default number of workers of a local cluster.

    Args:
        nodes: number of groups of nodes to run.
        threads: number of threads per worker; None if one is enough.
        gpus: whether nodes use a GPU; a machine is assumed to have one.
    """
    if gpus:
        return 1
    return max(1, min(nodes, CPU_COUNT // (threads or 1)))


def default_threads(workers: int) -> int:
    """Return the number of threads per worker, so that the workers share the cores evenly."""
    return max(1, CPU_COUNT // workers)


def warn_if_no_worker(client: Client, gpus: bool) -> None:
    """Log a warning if the cluster has no worker, or none with a GPU if one is needed."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not workers:
        logger.warning("The Dask cluster has no workers; waiting for the first one")
    elif gpus and not any(GPU in each["resources"] for each in workers):
        logger.warning(
            "No Dask worker offers a GPU; waiting for one that is started with --resources GPU=1"
        )


def _connect(address: str) -> Client:
    try:
        client = Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No Dask scheduler answers at {SCHEDULER_ADDRESS}={address}; start one with "
            "'dask scheduler', or unset the variable to use this machine only"
        ) from error
    logger.info("Dask cluster at %s, dashboard at %s", address, client.dashboard_link)
    return client


@contextmanager
def _local_cluster(workers: int, gpus: bool) -> Iterator[LocalCluster]:
    environment = {**dask.config.get("distributed.nanny.pre-spawn-environ"), **_QUIET}
    settings = {
        "distributed.nanny.pre-spawn-environ": environment,
        # Keep waiting tasks at the scheduler: a task queued at a worker counts as failed if the
        # worker dies.
        "distributed.scheduler.worker-saturation": 1.0,
    }
    options: dict[str, Any] = {"resources": {GPU: 1}} if gpus else {}
    level = _dask_logger.level
    try:
        with (
            dask.config.set(settings),
            _started_without_ctrl_c(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",
                # Dask would count the memory of training as its own data, and pause or kill
                # workers.
                memory_limit=None,
                **options,
            ) as cluster,
        ):
            try:
                yield cluster
            finally:
                # Hide what Dask says of slow workers, which it kills: a warning, and sometimes an
                # error with a traceback about the end of their connections.
                _dask_logger.setLevel(logging.CRITICAL)
    finally:
        _dask_logger.setLevel(level)


def _started_without_ctrl_c(**options: Any) -> LocalCluster:
    """Start a cluster on this machine whose worker processes ignore Ctrl-C.

    A terminal sends Ctrl-C to the workers as well as to the command. They must survive it, so that
    they can save a snapshot when the command closes them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return LocalCluster(**options)
    # Python unblocks the signal when it starts this process, so start it before.
    resource_tracker.ensure_running()
    # Inherited by Dask's thread, and by the processes that this thread starts.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return LocalCluster(**options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
