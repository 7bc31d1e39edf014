"""Which Dask cluster a run uses: one of its own, or one that is there."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster

from debias_pipeline.errors import UserError

logger = logging.getLogger(__name__)

# It sets itself to INFO when it is imported, after conf/logging.yml was read.
logging.getLogger("distributed").setLevel(logging.WARNING)
_QUIET = {"DASK_LOGGING__DISTRIBUTED": "warning"}

SCHEDULER_ADDRESS = "DASK_SCHEDULER_ADDRESS"
GPU = "GPU"

# How long a scheduler may take to answer, in seconds.
_TO_ANSWER = 10


@contextmanager
def connected(workers: int, gpus: bool) -> Iterator[Client]:
    """A client of the cluster that DASK_SCHEDULER_ADDRESS names, or else of a local one.

    Args:
        workers: of a local cluster: processes, each with one node at a time.
        gpus: whether the workers of a local cluster offer a GPU.

    Yields:
        The client; it is closed in the end, and so is a local cluster.

    Raises:
        UserError: if no scheduler answers.
    """
    address = scheduler_address()
    if address:
        with _client_of(address) as client:
            yield client
        return
    with _local_cluster(workers, gpus) as cluster, Client(cluster) as client:
        logger.info("Dask cluster on this machine: %d workers", workers)
        yield client


def scheduler_address() -> str | None:
    """Where the scheduler is to join, or None for a cluster of one's own."""
    return os.environ.get(SCHEDULER_ADDRESS) or None


def default_workers(nodes: int, threads: int | None, gpus: bool) -> int:
    """How many workers a local cluster has if nobody says.

    Args:
        nodes: how many nodes there are to run.
        threads: of a node; None where it may be as few as one.
        gpus: whether nodes compute on a GPU, of which a machine is taken to have one.
    """
    if gpus:
        return 1
    return max(1, min(nodes, CPU_COUNT // (threads or 1)))


def default_threads(workers: int) -> int:
    """How many threads each worker of a local cluster has, so that they do not fight for cores."""
    return max(1, CPU_COUNT // workers)


def warn_if_nobody_can_work(client: Client, gpus: bool) -> None:
    """Say what a run waits for that nobody offers yet."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not workers:
        logger.warning("The Dask cluster has no workers yet: waiting for the first")
    elif gpus and not any(GPU in each["resources"] for each in workers):
        logger.warning(
            "No Dask worker offers a GPU yet: waiting for one started with --resources GPU=1"
        )


def _client_of(address: str) -> Client:
    try:
        client = Client(address, timeout=_TO_ANSWER)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No Dask scheduler answers at {SCHEDULER_ADDRESS}={address}: start one with "
            "'dask scheduler', or unset the variable to work on this machine alone"
        ) from error
    logger.info("Dask cluster at %s, dashboard at %s", address, client.dashboard_link)
    return client


@contextmanager
def _local_cluster(workers: int, gpus: bool) -> Iterator[LocalCluster]:
    environment = {**dask.config.get("distributed.nanny.pre-spawn-environ"), **_QUIET}
    settings = {
        "distributed.nanny.pre-spawn-environ": environment,
        # Nodes wait at the scheduler: one that waits at a worker is blamed if the worker dies.
        "distributed.scheduler.worker-saturation": 1.0,
    }
    options: dict[str, Any] = {"resources": {GPU: 1}} if gpus else {}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            # What training takes is not what Dask counts as its own data.
            memory_limit=None,
            **options,
        ) as cluster,
    ):
        try:
            yield cluster
        finally:
            # A worker that takes long to end is killed, which is nothing to warn of.
            logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
