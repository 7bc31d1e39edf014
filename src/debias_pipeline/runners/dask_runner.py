"""Run Kedro nodes on the workers of a Dask cluster."""

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
from kedro.io import AbstractDataset, DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner
from pluggy import PluginManager

from debias_pipeline.errors import UserError
from debias_pipeline.grid import Catalog
from debias_pipeline.runners import ON_OTHER_MACHINES, cluster
from debias_pipeline.runners.groups import DataProblems, Group, groups_of
from debias_pipeline.runners.worker import GroupResult, GroupTask, Origin, run_task
from debias_pipeline.tracking import active_parent, end_running_children

Submit = Callable[[Group], Future[GroupResult]]

logger = logging.getLogger(__name__)

# The scheduler keeps submitted tasks in memory, so at most this many are submitted at a time.
MAX_SUBMITTED = 1000


class DaskRunner(AbstractRunner):
    """Run nodes on Dask workers, on this machine or on the cluster at DASK_SCHEDULER_ADDRESS.

    A worker runs one node at a time. Nodes exchange data only through the catalog, so each output
    needs an entry whose path all workers can access. If a worker dies, its node is retried on
    another worker; if several workers die while running the same node, the node is skipped, and
    the others continue.
    """

    def __init__(
        self, is_async: bool = False, workers: int | None = None, threads: int | None = None
    ) -> None:
        """Set up; the command line sets arguments by `--runner-params=workers=4,threads=2`.

        Args:
            is_async: whether a node loads and saves data in threads.
            workers: number of workers of a local cluster. If None, one if nodes use a GPU, else
                one per core.
            threads: number of PyTorch threads on each worker. If None, the workers of a local
                cluster share the cores evenly, and others keep the number they were started with.

        Raises:
            UserError: if a number is not a positive integer.
        """
        super().__init__(is_async=is_async)
        for name, value in (("workers", workers), ("threads", threads)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(
                    f"{name}={value} of DaskRunner is not a positive whole number; use e.g. "
                    f"--runner-params={name}=2"
                )
        self._workers, self._threads = workers, threads

    def __str__(self) -> str:
        """Return the text that Kedro passes to hooks."""
        return ON_OTHER_MACHINES if cluster.scheduler_address() else type(self).__name__

    def _run(
        self,
        pipeline: Pipeline,
        catalog: Any,
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        """See `AbstractRunner`, whose own loop takes quadratic time in the number of nodes."""
        del hook_manager  # workers have their own
        if not pipeline.nodes:
            return
        needs = groups_of(pipeline, catalog)
        _check_outputs_are_shared(needs, catalog)
        gpus = any(_resources(group, catalog) for group in needs)
        threads = self._threads or _fixed_threads(pipeline, catalog)
        workers = self._workers or cluster.default_workers(len(needs), threads, gpus)
        if threads is None and not cluster.scheduler_address():
            threads = cluster.default_threads(workers)
        parent = active_parent()
        origin = Origin(str(project.PACKAGE_NAME), str(Path.cwd()), parent, threads)
        try:
            with cluster.connected(workers, gpus) as client:
                cluster.warn_if_no_worker(client, gpus)
                submit = _submitter(client, catalog, self._is_async, run_id, origin)
                _Dispatcher(needs, submit, catalog).run()
        except BaseException:
            # The workers are closed, so nobody else ends the MLflow runs of their trials.
            if parent is not None:
                end_running_children(parent)
            raise

    def _get_executor(self, max_workers: int) -> None:
        """Do nothing, as only the loop of `AbstractRunner` uses an executor."""


class _Dispatcher:
    """Submit each group to the cluster as soon as the groups that it needs are done."""

    def __init__(self, needs: Mapping[Group, set[Group]], submit: Submit, catalog: Catalog) -> None:
        self._submit, self._catalog = submit, catalog
        self._storage = _SharedStorage(catalog)
        self._problems = DataProblems(needs)
        self._order = TopologicalSorter(needs)
        self._ready: deque[Group] = deque()
        self._running: dict[Key, tuple[Group, Future[GroupResult]]] = {}
        self._ended: SimpleQueue[Future[GroupResult]] = SimpleQueue()
        # Dask reports every task of a dead worker as failed. Each is retried once, alone, to find
        # the one that makes workers die.
        self._to_retry: deque[Group] = deque()
        self._retried: set[Group] = set()
        self._given_up: list[str] = []
        self._completed, self._total = 0, len(needs)

    def run(self) -> None:
        """Run all groups whose inputs can be made.

        Raises:
            UserError: if the scheduler stops, workers died while running a group, or making data
                failed and no trial in the run reports it.
            Exception: the first error of a node that belongs to no trial.
        """
        self._order.prepare()
        while self._order.is_active():
            self._submit_ready()
            if not self._running:
                break  # all groups are done, or the rest needs a group that was given up
            future = self._ended.get()
            group, _ = self._running.pop(future.key)
            result = _result(future)
            if result is None:
                self._retry_or_give_up(group)
                continue
            if result.error is None:
                self._storage.check(group, result.worker)
            else:
                self._problems.add(group, cloudpickle.loads(result.error))
            self._complete(group)
        if self._given_up:
            raise UserError(
                f"All workers died that ran {', '.join(sorted(self._given_up))}, probably because "
                "memory ran out; all results that do not need it are saved; use fewer workers, "
                "e.g. --runner-params=workers=1"
            )
        self._problems.raise_unreported()

    def _submit_ready(self) -> None:
        self._add_ready()
        if self._to_retry and not self._ready and not self._running:
            self._ready.append(self._to_retry.popleft())
        while self._ready and len(self._running) < MAX_SUBMITTED:
            group = self._ready.popleft()
            problem = self._problems.of(group)
            if problem is not None:
                group.run(self._catalog, _never_execute, problem)
                self._complete(group)
                self._add_ready()
                continue
            future = self._submit(group)
            self._running[future.key] = group, future
            future.add_done_callback(self._ended.put)

    def _add_ready(self) -> None:
        self._ready.extend(sorted(self._order.get_ready(), key=lambda each: each.name))

    def _retry_or_give_up(self, group: Group) -> None:
        if group in self._retried:
            logger.error("All workers died that ran %s; it is not retried again", group.name)
            self._given_up.append(group.name)
            return
        logger.warning("Worker died while running %s; it is retried alone", group.name)
        self._retried.add(group)
        self._to_retry.append(group)

    def _complete(self, group: Group) -> None:
        self._order.done(group)
        self._completed += 1
        logger.info("Completed %d of %d: %s", self._completed, self._total, group.name)


def _never_execute(node: Node, catalog: Catalog) -> None:
    raise RuntimeError(f"{node.name} belongs to a trial whose data could not be made")


def _submitter(
    client: Client, catalog: Catalog, is_async: bool, run_id: str | None, origin: Origin
) -> Submit:
    """Return a function that submits a group to the cluster."""
    validators = getattr(catalog, "validator_specs", {})

    def submit(group: Group) -> Future[GroupResult]:
        # Send only the entries that the group needs, as the whole catalog grows with the grid.
        names = {name for node in group.nodes for name in (*node.inputs, *node.outputs)}
        if group.trial is not None:
            names |= {f"{group.name}.{entry}" for entry in ("training_record", "outcome")}
        datasets: dict[str, Any] = {name: catalog.get(name) for name in names}
        needed = DataCatalog(datasets)
        # Kedro has no public way to pass validators to a catalog that is made from datasets.
        needed._validator_specs = {each: validators[each] for each in names & validators.keys()}
        task = GroupTask(group, needed, is_async, run_id)
        return client.submit(
            run_task,
            cloudpickle.dumps(task),
            origin,
            # The same key prefix for all tasks: Dask keeps a large task group at the scheduler.
            key=f"node-{group.name}-{uuid4().hex}",
            resources=_resources(group, catalog),
        )

    return submit


def _result(future: Future[GroupResult]) -> GroupResult | None:
    """Return the result of a group, or None if all workers died that ran it.

    Raises:
        UserError: if the scheduler has stopped.
        Exception: any other error of Dask.
    """
    if future.status == "cancelled":
        raise UserError(
            "The Dask scheduler has stopped, and finished results are saved; start a scheduler and "
            "run the same command with --only-missing-outputs to continue"
        )
    if future.status == "error":
        error = future.exception()
        if isinstance(error, KilledWorker):
            return None
        raise error
    return future.result()


class _SharedStorage:
    """Check that files that workers save are visible on this machine."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._checked: set[str] = set()

    def check(self, group: Group, worker: str) -> None:
        """Check the first outputs that each worker saves.

        Raises:
            UserError: if an output is not visible on this machine.
        """
        if worker in self._checked:
            return
        self._checked.add(worker)
        # A trial that has failed leaves its outcome only.
        saving = group.nodes if group.trial is None else group.nodes[-1:]
        for name in (name for node in saving for name in node.outputs):
            # `catalog.exists` does not see data that other processes save.
            dataset: Any = self._catalog.get(name)
            if _can_check_existence(dataset) and not dataset.exists():
                raise UserError(
                    f"{name}, saved by the Dask worker {worker}, does not exist on this machine; "
                    "use a file system that both share at the same path, or a store such as s3://"
                )


def _can_check_existence(dataset: Any) -> bool:
    return type(dataset)._exists is not AbstractDataset._exists


def _check_outputs_are_shared(needs: Mapping[Group, set[Group]], catalog: Catalog) -> None:
    for name in sorted(_shared_outputs(needs)):
        dataset = catalog.get(name)
        if isinstance(dataset, MemoryDataset) or getattr(dataset, "_SINGLE_PROCESS", False):
            raise UserError(
                f"{name} is kept in memory, so other Dask workers cannot read it; add an entry for "
                "it to conf/base/catalog.yml"
            )


def _shared_outputs(needs: Mapping[Group, set[Group]]) -> set[str]:
    """Return the outputs of groups, without those that only nodes of the same trial use."""
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
    """Return the Dask resources that a worker must offer to run a group."""
    inputs = {name for node in group.nodes for name in node.inputs}
    devices = (name for name in inputs if name.split(".")[-1].split(":")[-1] == "device")
    return {cluster.GPU: 1} if any(catalog.load(name) == "cuda" for name in devices) else None


def _fixed_threads(pipeline: Pipeline, catalog: Catalog) -> int | None:
    """Return the number of threads that parameters set, or None if it is `auto`."""
    names = pipeline.inputs() & {"params:threads", "params:benchmark.threads"}
    fixed = [value for value in map(catalog.load, names) if isinstance(value, int)]
    return max(fixed, default=None)
