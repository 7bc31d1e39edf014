"""Run a grid on one machine, and continue if a trial fails."""

import logging
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task
from pluggy import PluginManager

from debias_pipeline.grid import Catalog
from debias_pipeline.runners.groups import DataProblems, groups_of, in_order

logger = logging.getLogger(__name__)


class IsolatingRunner(SequentialRunner):
    """Run trials one after the other, and continue if one fails.

    Nodes that belong to no trial of a grid run as with Kedro's SequentialRunner.
    """

    def _run(
        self,
        pipeline: Pipeline,
        catalog: Any,
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        def execute(node: Node, catalog: Catalog) -> None:
            Task(node, catalog, self._is_async, hook_manager, run_id).execute()

        needs = groups_of(pipeline, catalog)
        problems = DataProblems(needs)
        for completed, group in enumerate(in_order(needs), start=1):
            try:
                group.run(catalog, execute, problems.of(group))
            except Exception as error:
                problems.add(group, error)
            logger.info("Completed %d of %d: %s", completed, len(needs), group.name)
        problems.raise_unreported()
