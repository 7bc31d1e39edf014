"""`kedro` in a process of its own that starts in a second."""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from forked import ForkedProcess, fork_workers_of_dask


class ForkedKedro(ForkedProcess):
    """A running command of `kedro`."""

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        environment: dict[str, str],
        output: Path,
        errors: Path | None = None,
        draws: bool = False,
    ) -> None:
        """Start the command in a new session.

        Args:
            arguments: of `kedro`.
            folder: see `ForkedProcess`; so are the next three.
            environment: all its variables.
            output: file of standard output.
            errors: file of standard errors.
            draws: whether figures are drawn; else they are empty.
        """
        options = {"folder": folder, "environment": environment, "errors": errors}
        super().__init__(_run, arguments, draws, output=output, **options)


def _run(arguments: list[str], draws: bool) -> None:
    sys.argv = ["kedro", *arguments]
    sys.modules.setdefault("ibis", None)  # type: ignore[arg-type]  # as in tests/conftest.py
    # As Kedro does, but before anything of the project is imported.
    sys.path.insert(0, str(Path("src").absolute()))
    if any("DaskRunner" in each for each in arguments):
        import dask

        dask.config.set(fork_workers_of_dask())
    from kedro.framework.cli import main

    with contextlib.nullcontext() if draws else drawing_nothing():
        main()


@contextlib.contextmanager
def drawing_nothing() -> Iterator[None]:
    """Leave figures empty, and maps of images without meaning: they take most of a short run."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg"></svg>'
    some = {"learning_curves": empty, "sample_grid": empty}
    places: dict[str, Callable[..., object]] = {
        "evaluation.feature_map._map": _on_a_line,
        "evaluation.saliency.occlusion_maps": _as_bright_as_the_image,
        "grid.execution.draw_figures": lambda *_, **__: some,
        "grid.leaderboard.draw_leaderboard_figures": lambda *_, **__: {},
        "pipelines.ingestion.nodes.draw_contact_sheet": lambda *_, **__: empty,
        "pipelines.reporting.pipeline.draw_comparison": lambda *_, **__: {},
        "pipelines.reporting.pipeline.draw_figures": lambda *_, **__: some,
        "reporting.pages.feature_section._draw_maps": lambda *_, **__: empty,
        "reporting.pages.page.chart_library": lambda *_, **__: "",
    }
    with contextlib.ExitStack() as patches:
        for place, instead in places.items():
            module, function = f"debias_pipeline.{place}".rsplit(".", 1)
            original = getattr(importlib.import_module(module), function)
            # Kedro reads names and arguments of the functions of nodes.
            patched = functools.wraps(original)(instead)
            patches.enter_context(mock.patch(f"{module}.{function}", patched))
        yield


def _on_a_line(features: Any) -> Any:
    return features.new_ones(len(features), 2).cumsum(0) / len(features)


def _as_bright_as_the_image(method: Any, images: Any) -> Any:
    return images.float().mean(1, keepdim=True).repeat(1, 2, 1, 1)
