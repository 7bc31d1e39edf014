"""What is run together: the nodes of a trial, or a single other node."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from debias_pipeline.errors import UserError
from debias_pipeline.grid import (
    ALL_DONE,
    LenientCatalog,
    Trial,
    chosen_trials,
    explained,
    run_trial,
    trials_of,
)
from debias_pipeline.grid.execution import Execute

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[Any, Any]


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes that run one after the other in one process.

    Attributes:
        name: of the trial, or of the node.
        nodes: in their order.
        trial: to which the nodes belong; None for a single other node.
    """

    name: str
    nodes: tuple[Node, ...]
    trial: Trial | None = None

    @property
    def is_leaderboard(self) -> bool:
        """Whether it runs also if what it needs is missing."""
        return any(ALL_DONE in node.tags for node in self.nodes)

    def run(self, catalog: Catalog, execute: Execute, problem: Exception | None = None) -> None:
        """Run the nodes.

        Args:
            catalog: of the run.
            execute: runs a node.
            problem: why the data of the trial could not be made.

        Raises:
            Exception: whatever a node raises that belongs to no trial.
        """
        if self.trial is not None:
            run_trial(self.trial, self.nodes, catalog, execute, problem)
            return
        for node in self.nodes:
            execute(node, LenientCatalog(catalog) if ALL_DONE in node.tags else catalog)


def groups_of(pipeline: Pipeline, catalog: Catalog) -> dict[Group, set[Group]]:
    """Return the groups of a pipeline, and those that each of them needs.

    A trial whose outcome the pipeline does not make is not run as a whole: its nodes are ordinary
    ones, which end the run if they fail.
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
    """Yield groups after those that they need, otherwise by their names."""
    order = TopologicalSorter(needs)
    order.prepare()
    while order.is_active():
        for group in sorted(order.get_ready(), key=lambda each: each.name):
            yield group
            order.done(group)


class DataProblems:
    """Data sets that could not be made; trials on them fail, and the others go on."""

    def __init__(self, needs: Mapping[Group, set[Group]]) -> None:
        """Set up.

        Args:
            needs: see `groups_of`.
        """
        self._needs = needs
        self._problems: dict[Group, Exception] = {}

    def of(self, group: Group) -> Exception | None:
        """Return why the data of a trial could not be made; None if it was."""
        if group.trial is None:
            return None
        needed = self._needs[group]
        return next((self._problems[each] for each in needed if each in self._problems), None)

    def add(self, group: Group, problem: Exception) -> None:
        """Note that a group has failed.

        Raises:
            Exception: the problem, unless the group makes data for trials or for nobody in the run.
        """
        users = [each for each, needed in self._needs.items() if group in needed]
        makes_data = any("data" in node.tags for node in group.nodes)
        if not makes_data or not all(each.trial or each.is_leaderboard for each in users):
            raise problem
        logger.warning("%s failed: %s", group.nodes[0].namespace, explained(problem))
        self._problems[group] = problem

    def raise_unreported(self) -> None:
        """Raise an error if the data of a setting failed of which no trial is in the run.

        Raises:
            UserError: naming the settings.
        """
        reported = {each for group in self._needs if group.trial for each in self._needs[group]}
        texts = [
            f"{group.nodes[0].namespace} ({explained(problem)})"
            for group, problem in self._problems.items()
            if group not in reported
        ]
        if texts:
            raise UserError(f"Data could not be made: {'; '.join(texts)}")
