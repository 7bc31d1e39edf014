"""Create nodes that Kedro-Viz describes."""

import inspect
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kedro.pipeline.node import Node
from kedro.pipeline.preview_contract import TextPreview
from kedro.utils import KedroExperimentalWarning


def described_node(
    func: Callable[..., Any],
    *,
    inputs: str | list[str] | dict[str, str] | None,
    outputs: str | list[str] | dict[str, str] | None,
    name: str,
    tags: str | Iterable[str] | None = None,
    node_type: type[Node] = Node,
) -> Node:
    """Return a node for which Kedro-Viz shows the summary of the function's docstring.

    The other arguments are those of `kedro.pipeline.node`.

    Args:
        node_type: class of the node.
    """
    summary = (inspect.getdoc(func) or "").partition("\n")[0]
    with warnings.catch_warnings():
        # Kedro warns in every run that `preview_fn` is experimental; tests would notice a change.
        warnings.simplefilter("ignore", KedroExperimentalWarning)
        return node_type(
            func, inputs, outputs, name=name, tags=tags, preview_fn=partial(TextPreview, summary)
        )
