"""Snapshots are removed once what was trained is saved."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[Any, Any]

# The catalog entry that gives a node the place for its snapshots.
SNAPSHOTS = "snapshots"


class SnapshotHooks:
    """Removes the snapshots of a training run once all that it made is saved."""

    _catalog: Catalog

    @hook_impl
    def before_node_run(self, catalog: Catalog) -> None:
        """Keep the catalog, also in a process that only runs nodes."""
        self._catalog = catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Remove snapshots after the last output of the node that took them."""
        store = next((name for name in node.inputs if name.split(".")[-1] == SNAPSHOTS), None)
        if store is None or dataset_name != node.outputs[-1]:
            return
        # A trial that failed keeps its snapshots.
        if data["settings_digest"]:
            try:
                self._catalog.load(store).clear(data["settings_digest"])
            except OSError as error:
                # Such as a network file system on which a file is still open elsewhere.
                logger.warning("Snapshots that are not needed any more were not removed: %s", error)
