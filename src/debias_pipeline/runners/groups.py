"""Group the nodes that run together: the nodes of a trial, or a single other node."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from debias_pipeline.errors import UserError
from debias_pipeline.grid import (
    ALL_DONE,
    Catalog,
    LenientCatalog,
    Trial,
    chosen_trials,
    explained,
    run_trial,
    trials_of,
)
from debias_pipeline.grid.execution import Execute

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes that run one after the other in one process.

    Attributes:
        name: name of the trial, or of the node.
        nodes: nodes in the order in which they run.
        trial: the trial that the nodes belong to; None for a single other node.
    """

    name: str
    nodes: tuple[Node, ...]
    trial: Trial | None = None

    @property
    def is_leaderboard(self) -> bool:
        """Return whether it is the leaderboard, which also runs if its inputs are missing."""
        return any(ALL_DONE in node.tags for node in self.nodes)

    def run(self, catalog: Catalog, execute: Execute, problem: Exception | None = None) -> None:
        """Run the nodes.

        Args:
            catalog: catalog of the run.
            execute: runs a node.
            problem: the error with which making the trial's data failed, or None.

        Raises:
            Exception: the error of a node that belongs to no trial.
        """
        if self.trial is not None:
            run_trial(self.trial, self.nodes, catalog, execute, problem)
            return
        for node in self.nodes:
            execute(node, LenientCatalog(catalog) if self.is_leaderboard else catalog)


def groups_of(pipeline: Pipeline, catalog: Catalog) -> dict[Group, set[Group]]:
    """Return the groups of a pipeline, each with the groups that it needs.

    The nodes of a trial are one group only if the pipeline makes the outcome of the trial.
    Otherwise each is a group of its own, and the run ends if it fails.
    """
    parameters = catalog.load("parameters") if "parameters" in catalog else {}
    trials = {trial.name: trial for trial in chosen_trials(trials_of(parameters), pipeline)}
    members: dict[str, list[Node]] = {}
    for node in pipeline.nodes:
        name = node.namespace if node.namespace in trials else node.name
        members.setdefault(str(name), []).append(node)
    groups = [Group(name, tuple(nodes), trials.get(name)) for name, nodes in members.items()]
    maker = {name: group for group in groups for node in group.nodes for name in node.outputs}
    return {
        group: {maker[name] for node in group.nodes for name in node.inputs if name in maker}
        - {group}
        for group in groups
    }


def in_order(needs: Mapping[Group, set[Group]]) -> Iterator[Group]:
    """Yield each group after the groups that it needs; sort by name where the order is free."""
    order = TopologicalSorter(needs)
    order.prepare()
    while order.is_active():
        for group in sorted(order.get_ready(), key=lambda each: each.name):
            yield group
            order.done(group)


class DataProblems:
    """Errors of nodes that make data; trials that need this data fail, and the others continue."""

    def __init__(self, needs: Mapping[Group, set[Group]]) -> None:
        """Set up.

        Args:
            needs: result of `groups_of`.
        """
        self._needs = needs
        self._problems: dict[Group, Exception] = {}

    def of(self, group: Group) -> Exception | None:
        """Return the error with which making the data of a trial failed, or None."""
        if group.trial is None:
            return None
        needed = self._needs[group]
        return next((self._problems[each] for each in needed if each in self._problems), None)

    def add(self, group: Group, problem: Exception) -> None:
        """Record the error of a group that makes data for trials.

        Raises:
            Exception: the error itself, if the group does not make data, or if a node uses the data
                that belongs neither to a trial nor to the leaderboard.
        """
        users = [each for each, needed in self._needs.items() if group in needed]
        makes_data = any("data" in node.tags for node in group.nodes)
        if not makes_data or not all(each.trial or each.is_leaderboard for each in users):
            raise problem
        logger.warning(
            "Making the data of %s failed: %s; trials on other data continue",
            group.nodes[0].namespace,
            explained(problem),
        )
        self._problems[group] = problem

    def raise_unreported(self) -> None:
        """Raise one error that names every setting whose data failed and that no trial needs.

        Failures of the other settings are reported by their trials.

        Raises:
            UserError: if there are such settings.
        """
        reported = {each for group in self._needs if group.trial for each in self._needs[group]}
        texts = [
            f"{group.nodes[0].namespace} ({explained(problem)})"
            for group, problem in self._problems.items()
            if group not in reported
        ]
        if texts:
            raise UserError(f"Making data failed: {'; '.join(texts)}")
