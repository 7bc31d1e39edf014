"""Remove snapshots when the results of training are saved."""

import logging
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node

if TYPE_CHECKING:
    from debias_pipeline.grid import Catalog

logger = logging.getLogger(__name__)

# The catalog entry with the folder for snapshots, which is an input of the training node, and the
# last output of this node.
SNAPSHOTS = "snapshots"
LAST_OUTPUT = "training_record"


class SnapshotHooks:
    """Remove the snapshots of a training run when all its outputs are saved."""

    _catalog: "Catalog"

    @hook_impl
    def before_node_run(self, catalog: "Catalog") -> None:
        """Store the catalog; workers call no earlier hook."""
        self._catalog = catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Remove the snapshots of a training node after its last output is saved."""
        store = next((name for name in node.inputs if name.split(".")[-1] == SNAPSHOTS), None)
        if store is None or dataset_name.split(".")[-1] != LAST_OUTPUT:
            return
        # A trial that failed keeps its snapshots.
        if data["settings_digest"]:
            try:
                self._catalog.load(store).clear(data["settings_digest"])
            except OSError as error:
                # E.g. on a network file system, if a file is still open on another machine.
                logger.warning(
                    "Snapshots of a finished training could not be removed: %s; delete them to "
                    "free disk space",
                    error,
                )
