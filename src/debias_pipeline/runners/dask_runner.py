"""A Kedro runner that runs nodes on the workers of a Dask cluster."""

import logging
from collections import deque
from collections.abc import Callable, Mapping
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
from pluggy import PluginManager

from debias_pipeline.errors import UserError
from debias_pipeline.runners import ON_OTHER_MACHINES, cluster
from debias_pipeline.runners.groups import DataProblems, Group, groups_of
from debias_pipeline.runners.worker import Ending, GroupTask, Origin, run_task
from debias_pipeline.tracking import active_parent, end_running_children

Catalog = CatalogProtocol[Any, Any]
Submit = Callable[[Group], Future[Ending]]

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
        needs = groups_of(pipeline, catalog)
        _refuse_what_other_processes_cannot_see(needs, catalog)
        gpus = any(_resources(group, catalog) for group in needs)
        threads = self._threads or _fixed_threads(pipeline, catalog)
        workers = self._workers or cluster.default_workers(len(needs), threads, gpus)
        if threads is None and not cluster.scheduler_address():
            threads = cluster.default_threads(workers)
        parent = active_parent()
        origin = Origin(str(project.PACKAGE_NAME), str(Path.cwd()), parent, threads)
        try:
            with cluster.connected(workers, gpus) as client:
                cluster.warn_if_nobody_can_work(client, gpus)
                submit = _submitter(client, catalog, self._is_async, run_id, origin)
                _Dispatch(needs, submit, catalog).run()
        except BaseException:
            # Those who worked at them are gone, or about to go.
            if parent is not None:
                end_running_children(parent)
            raise

    def _get_executor(self, max_workers: int) -> None:
        """Only the loop of `AbstractRunner` asks for one."""


class _Dispatch:
    """Hands groups to the cluster, each as soon as those that it needs are done."""

    def __init__(self, needs: Mapping[Group, set[Group]], submit: Submit, catalog: Catalog) -> None:
        self._submit, self._catalog = submit, catalog
        self._storage = _SharedStorage(catalog)
        self._problems = DataProblems(needs)
        self._order = TopologicalSorter(needs)
        self._ready: deque[Group] = deque()
        self._running: dict[Key, tuple[Group, Future[Ending]]] = {}
        self._ended: SimpleQueue[Future[Ending]] = SimpleQueue()
        # Dask blames whatever was at a worker when it died: those are tried once more, alone.
        self._suspects: deque[Group] = deque()
        self._blamed: set[Group] = set()
        self._given_up: list[str] = []
        self._completed, self._total = 0, len(needs)

    def run(self) -> None:
        """Run all that can be run.

        Raises:
            UserError: if the scheduler goes away, groups had to be given up, or data of which no
                trial is in the run could not be made.
            Exception: the first that a node raises that belongs to no trial.
        """
        self._order.prepare()
        while self._order.is_active():
            self._submit_what_is_ready()
            if not self._running:
                break  # the end, or what is left needs what was given up
            future = self._ended.get()
            group, _ = self._running.pop(future.key)
            ending = _ending(future)
            if ending is None:
                self._blame(group)
                continue
            if ending.error is None:
                self._storage.check(group, ending.worker)
            else:
                self._problems.add(group, cloudpickle.loads(ending.error))
            self._complete(group)
        if self._given_up:
            raise UserError(
                f"Every worker died that ran {', '.join(sorted(self._given_up))}: most likely "
                "memory ran out; all else that did not need it is saved. Try fewer workers, such "
                "as --runner-params=workers=1"
            )
        self._problems.raise_unreported()

    def _submit_what_is_ready(self) -> None:
        self._add_ready()
        if self._suspects and not self._ready and not self._running:
            self._ready.append(self._suspects.popleft())
        while self._ready and len(self._running) < MAX_SUBMITTED:
            group = self._ready.popleft()
            problem = self._problems.of(group)
            if problem is not None:
                group.run(self._catalog, _nothing_runs, problem)
                self._complete(group)
                self._add_ready()
                continue
            future = self._submit(group)
            self._running[future.key] = group, future
            future.add_done_callback(self._ended.put)

    def _add_ready(self) -> None:
        self._ready.extend(sorted(self._order.get_ready(), key=lambda each: each.name))

    def _blame(self, group: Group) -> None:
        if group in self._blamed:
            logger.error("Given up: %s. Every worker that ran it died", group.name)
            self._given_up.append(group.name)
            return
        logger.warning("Worker died while running %s; it is retried alone", group.name)
        self._blamed.add(group)
        self._suspects.append(group)

    def _complete(self, group: Group) -> None:
        self._order.done(group)
        self._completed += 1
        logger.info("Completed %d of %d: %s", self._completed, self._total, group.name)


def _nothing_runs(node: Node, catalog: Catalog) -> None:
    raise RuntimeError(f"{node.name} belongs to a trial whose data could not be made")


def _submitter(
    client: Client, catalog: Catalog, is_async: bool, run_id: str | None, origin: Origin
) -> Submit:
    """Return a function that hands a group to the cluster."""
    validators = getattr(catalog, "validator_specs", {})

    def submit(group: Group) -> Future[Ending]:
        # The whole catalog would grow with the grid.
        names = {name for node in group.nodes for name in (*node.inputs, *node.outputs)}
        if group.trial is not None:
            names |= {f"{group.name}.{entry}" for entry in ("training_record", "outcome")}
        datasets: dict[str, Any] = {name: catalog.get(name) for name in names}
        needed = DataCatalog(datasets)
        # Kedro has no public way to give a catalog of datasets their validators.
        needed._validator_specs = {each: validators[each] for each in names & validators.keys()}
        task = GroupTask(group, needed, is_async, run_id)
        return client.submit(
            run_task,
            cloudpickle.dumps(task),
            origin,
            # One group of keys for all: Dask keeps a large group waiting at the scheduler.
            key=f"node-{group.name}-{uuid4().hex}",
            resources=_resources(group, catalog),
        )

    return submit


def _ending(future: Future[Ending]) -> Ending | None:
    """Return how a group ended; None where all workers died that tried it.

    Raises:
        UserError: if there is no scheduler any more.
        Exception: whatever Dask raises.
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
    return future.result()


class _SharedStorage:
    """Sees to it that what workers save is there on this machine too."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: set[str] = set()

    def check(self, group: Group, worker: str) -> None:
        """Look at the first outputs that each worker saves.

        Raises:
            UserError: if one is not there.
        """
        if worker in self._known:
            return
        self._known.add(worker)
        # A trial that has failed leaves its outcome only.
        saving = group.nodes if group.trial is None else group.nodes[-1:]
        for name in (name for node in saving for name in node.outputs):
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


def _refuse_what_other_processes_cannot_see(
    needs: Mapping[Group, set[Group]], catalog: Catalog
) -> None:
    for name in sorted(_handed_on(needs)):
        dataset = catalog.get(name)
        if isinstance(dataset, MemoryDataset) or getattr(dataset, "_SINGLE_PROCESS", False):
            raise UserError(
                f"{name} stays in the memory of the process that makes it, where no other Dask "
                "worker sees it: give it an entry in conf/base/catalog.yml"
            )


def _handed_on(needs: Mapping[Group, set[Group]]) -> set[str]:
    """Return the outputs of groups, but for what the nodes of one group alone use."""
    inside = {
        name
        for group in needs
        for node in group.nodes
        for name in node.inputs
        if group.trial is not None and name.startswith(f"{group.name}.")
    }
    outputs = {name for group in needs for node in group.nodes for name in node.outputs}
    return outputs - inside


def _resources(group: Group, catalog: Catalog) -> dict[str, float] | None:
    """Return what Dask must find on a worker for this group."""
    inputs = {name for node in group.nodes for name in node.inputs}
    devices = (name for name in inputs if name.split(".")[-1].split(":")[-1] == "device")
    return {cluster.GPU: 1} if any(catalog.load(name) == "cuda" for name in devices) else None


def _fixed_threads(pipeline: Pipeline, catalog: Catalog) -> int | None:
    """Return the number of threads that parameters fix for training, None if they leave it open."""
    names = pipeline.inputs() & {"params:threads", "params:benchmark.threads"}
    fixed = [value for value in map(catalog.load, names) if isinstance(value, int)]
    return max(fixed, default=None)
