"""A Kedro runner that runs nodes on the workers of a Dask cluster."""

import logging
from collections import deque
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import cloudpickle
from dask.typing import Key
from distributed import Client, Future
from distributed.scheduler import KilledWorker
from kedro.framework import project
from kedro.io import AbstractDataset, CatalogProtocol, DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner
from kedro.runner.task import Task
from pluggy import PluginManager

from debias_pipeline.errors import UserError
from debias_pipeline.runners import ON_OTHER_MACHINES, cluster
from debias_pipeline.runners.worker import Ending, Origin, run_task
from debias_pipeline.tracking import active_parent, end_running_children

Catalog = CatalogProtocol[Any, Any]
Submit = Callable[[Node], Future[Ending]]

logger = logging.getLogger(__name__)

# The scheduler keeps every task that it was given; more than this many are of no use to it.
MAX_SUBMITTED = 1000


class DaskRunner(AbstractRunner):
    """Runs nodes on Dask workers: on this machine, or wherever DASK_SCHEDULER_ADDRESS points.

    A worker runs one node at a time. Nodes hand data on through the catalog alone, so all that a
    node makes needs an entry there, in a place that all workers see. A node whose worker dies is
    run again on another one; one that takes several workers with it is given up, and the others
    go on.
    """

    def __init__(
        self, is_async: bool = False, workers: int | None = None, threads: int | None = None
    ) -> None:
        """Set up, from the command line by `--runner-params=workers=4,threads=2`.

        Args:
            is_async: whether a node loads and saves by threads.
            workers: of a cluster on this machine; as many as there are cores, if None, or one where
                nodes compute on a GPU.
            threads: of PyTorch on each worker. If None, the workers of a cluster on this machine
                share its cores evenly, and others have what they were started with.

        Raises:
            UserError: if a number is none, or not positive.
        """
        super().__init__(is_async=is_async)
        for name, value in (("workers", workers), ("threads", threads)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(
                    f"{name}={value} of DaskRunner is no positive whole number: "
                    f"--runner-params={name}=2"
                )
        self._workers, self._threads = workers, threads

    def __str__(self) -> str:
        """What Kedro tells hooks of the runner."""
        return ON_OTHER_MACHINES if cluster.scheduler_address() else type(self).__name__

    def _run(
        self,
        pipeline: Pipeline,
        catalog: Any,
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        """See `AbstractRunner`, whose own loop takes time that grows with the nodes' square."""
        del hook_manager  # workers have their own
        if not pipeline.nodes:
            return
        _refuse_what_other_processes_cannot_see(pipeline, catalog)
        gpus = any(_resources(node, catalog) for node in pipeline.nodes)
        threads = self._threads or _fixed_threads(pipeline, catalog)
        workers = self._workers or cluster.default_workers(len(pipeline.nodes), threads, gpus)
        if threads is None and not cluster.scheduler_address():
            threads = cluster.default_threads(workers)
        parent = active_parent()
        origin = Origin(str(project.PACKAGE_NAME), str(Path.cwd()), parent, threads)
        try:
            with cluster.connected(workers, gpus) as client:
                cluster.warn_if_nobody_can_work(client, gpus)
                submit = _submitter(client, catalog, self._is_async, run_id, origin)
                _Dispatch(pipeline, submit, _SharedStorage(catalog)).run()
        except BaseException:
            # Those who worked at them are gone, or about to go.
            if parent is not None:
                end_running_children(parent)
            raise

    def _get_executor(self, max_workers: int) -> None:
        """Only the loop of `AbstractRunner` asks for one."""


class _Dispatch:
    """Hands nodes to the cluster, each as soon as those that it needs are done."""

    def __init__(self, pipeline: Pipeline, submit: Submit, storage: "_SharedStorage") -> None:
        self._submit, self._storage = submit, storage
        self._order = TopologicalSorter(pipeline.node_dependencies)
        self._ready: deque[Node] = deque()
        self._running: dict[Key, tuple[Node, Future[Ending]]] = {}
        self._ended: SimpleQueue[Future[Ending]] = SimpleQueue()
        # Dask blames whatever was at a worker when it died: those are tried once more, alone.
        self._suspects: deque[Node] = deque()
        self._blamed: set[Node] = set()
        self._given_up: list[str] = []
        self._completed, self._total = 0, len(pipeline.nodes)

    def run(self) -> None:
        """Run all that can be run.

        Raises:
            UserError: if the scheduler goes away, or nodes had to be given up.
            Exception: the first that a node raises.
        """
        self._order.prepare()
        while self._order.is_active():
            self._submit_what_is_ready()
            if not self._running:
                break  # what is left needs what was given up
            future = self._ended.get()
            node, _ = self._running.pop(future.key)
            ending = _ending(future)
            if ending is None:
                self._blame(node)
            else:
                self._complete(node, ending)
        if self._given_up:
            raise UserError(
                f"Every worker died that ran {', '.join(sorted(self._given_up))}: most likely "
                "memory ran out; all else that did not need it is saved. Try fewer workers, such "
                "as --runner-params=workers=1"
            )

    def _submit_what_is_ready(self) -> None:
        self._ready.extend(sorted(self._order.get_ready()))
        if self._suspects and not self._ready and not self._running:
            self._ready.append(self._suspects.popleft())
        while self._ready and len(self._running) < MAX_SUBMITTED:
            node = self._ready.popleft()
            future = self._submit(node)
            self._running[future.key] = node, future
            future.add_done_callback(self._ended.put)

    def _blame(self, node: Node) -> None:
        if node in self._blamed:
            logger.error("Given up: %s. Every worker that ran it died", node.name)
            self._given_up.append(node.name)
            return
        logger.warning("Every worker died that had %s: it is tried alone later", node.name)
        self._blamed.add(node)
        self._suspects.append(node)

    def _complete(self, node: Node, ending: Ending) -> None:
        self._storage.check(node, ending.worker)
        self._order.done(node)
        self._completed += 1
        logger.info("Completed %d of %d: %s", self._completed, self._total, node.name)


def _submitter(
    client: Client, catalog: Catalog, is_async: bool, run_id: str | None, origin: Origin
) -> Submit:
    """A function that hands a node to the cluster."""

    def submit(node: Node) -> Future[Ending]:
        # The whole catalog would grow with the grid.
        needed: dict[str, Any] = {name: catalog.get(name) for name in (*node.inputs, *node.outputs)}
        task = Task(node, DataCatalog(needed), is_async, run_id=run_id)
        return client.submit(
            run_task,
            cloudpickle.dumps(task),
            origin,
            # One group of keys for all: Dask keeps a large group waiting at the scheduler.
            key=f"node-{node.name}-{uuid4().hex}",
            resources=_resources(node, catalog),
        )

    return submit


def _ending(future: Future[Ending]) -> Ending | None:
    """How a node ended; None where all workers died that tried it.

    Raises:
        UserError: if there is no scheduler any more.
        Exception: whatever the node raised.
    """
    if future.status == "cancelled":
        raise UserError(
            "The Dask scheduler is gone. What was finished is saved: with a scheduler that runs, "
            "the same command with --only-missing-outputs goes on from there"
        )
    if future.status == "error":
        error = future.exception()
        if isinstance(error, KilledWorker):
            return None
        raise error
    ending = future.result()
    if ending.error is not None:
        raise cloudpickle.loads(ending.error)
    return ending


class _SharedStorage:
    """Sees to it that what workers save is there on this machine too."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: set[str] = set()

    def check(self, node: Node, worker: str) -> None:
        """Look at the first outputs that each worker saves.

        Raises:
            UserError: if one is not there.
        """
        if worker in self._known:
            return
        self._known.add(worker)
        for name in node.outputs:
            # Not `catalog.exists`: it does not know of what other processes save.
            dataset: Any = self._catalog.get(name)
            if _can_be_looked_for(dataset) and not dataset.exists():
                raise UserError(
                    f"The Dask worker {worker} has saved {name} where this machine does not see "
                    "it: let both share a file system at the same path, or keep data in a store "
                    "such as s3://"
                )


def _can_be_looked_for(dataset: Any) -> bool:
    return type(dataset)._exists is not AbstractDataset._exists


def _refuse_what_other_processes_cannot_see(pipeline: Pipeline, catalog: Catalog) -> None:
    for name in sorted(pipeline.all_outputs()):
        dataset = catalog.get(name)
        if isinstance(dataset, MemoryDataset) or getattr(dataset, "_SINGLE_PROCESS", False):
            raise UserError(
                f"{name} stays in the memory of the process that makes it, where no other Dask "
                "worker sees it: give it an entry in conf/base/catalog.yml"
            )


def _resources(node: Node, catalog: Catalog) -> dict[str, float] | None:
    """What Dask must find on a worker for this node."""
    devices = (name for name in node.inputs if name.split(".")[-1].split(":")[-1] == "device")
    return {cluster.GPU: 1} if any(catalog.load(name) == "cuda" for name in devices) else None


def _fixed_threads(pipeline: Pipeline, catalog: Catalog) -> int | None:
    """Return the number of threads that parameters fix for training, None if they leave it open."""
    names = pipeline.inputs() & {"params:threads", "params:benchmark.threads"}
    fixed = [value for value in map(catalog.load, names) if isinstance(value, int)]
    return max(fixed, default=None)
