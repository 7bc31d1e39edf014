"""`kedro` in a process of its own that starts in a second.

Python's fork server imports heavy packages once and forks a process per command, which takes its
folder, variables and output as from a shell. It can be killed and stopped like any other process.
"""

import atexit
import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

_CONTEXT = multiprocessing.get_context("forkserver")
# Nothing of this project or of Kedro's framework, which configure themselves when imported.
_CONTEXT.set_forkserver_preload(
    [
        "alembic",
        "kedro.io",
        "kedro_datasets.pandas",
        "matplotlib.pyplot",
        "mlflow",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlxtend.data",
        "pandera.pandas",
        "pyarrow.parquet",
        "scipy.stats",
        "sklearn.metrics",
        "torchvision",
    ]
)


class ForkedKedro:
    """A running command, with what tests need of the interface of `subprocess.Popen`."""

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
            folder: where it runs.
            environment: all its variables.
            output: file to which standard output is appended.
            errors: the same for standard errors; None is `output`.
            draws: whether figures are drawn; else they are empty.
        """
        self.output = output
        output.touch()
        paths = (str(output), str(errors or output))
        self._process = _CONTEXT.Process(
            target=_run, args=(arguments, str(folder), environment, paths, draws)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"kedro still runs after {timeout} seconds")
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _run(
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    paths: tuple[str, str],
    draws: bool,
) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, path in zip((1, 2), paths, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["kedro", *arguments]
    sys.modules.setdefault("ibis", None)  # type: ignore[arg-type]  # as in tests/conftest.py
    # As Kedro does, but before anything of the project is imported.
    sys.path.insert(0, str(Path(folder, "src")))
    from kedro.framework.cli import main

    try:
        with contextlib.nullcontext() if draws else drawing_nothing():
            main()
    finally:
        # Processes of `multiprocessing` end without them.
        atexit._run_exitfuncs()


@contextlib.contextmanager
def drawing_nothing() -> Iterator[None]:
    """Leave figures empty: drawing them takes half of a short run."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg"></svg>'
    some = {"learning_curves": empty, "sample_grid": empty}
    places = {
        "debias_pipeline.grid.execution.draw_figures": some,
        "debias_pipeline.grid.leaderboard.draw_leaderboard_figures": {},
        "debias_pipeline.pipelines.ingestion.nodes.draw_contact_sheet": empty,
        "debias_pipeline.pipelines.reporting.pipeline.draw_comparison": {},
        "debias_pipeline.pipelines.reporting.pipeline.draw_figures": some,
        "debias_pipeline.reporting.pages.chart_library": "",
    }
    with contextlib.ExitStack() as patches:
        for name, result in places.items():
            module, function = name.rsplit(".", 1)
            original = getattr(importlib.import_module(module), function)
            # Kedro reads names and arguments of the functions of nodes.
            instead = functools.wraps(original)(lambda *_, result=result, **__: result)
            patches.enter_context(mock.patch(name, instead))
        yield
