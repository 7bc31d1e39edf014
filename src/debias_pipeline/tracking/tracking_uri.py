"""Choose where calls of `mlflow` in this process keep runs, before MLflow is imported."""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Final

URI_VARIABLE: Final = "MLFLOW_TRACKING_URI"

_MLFLOW: Final = "mlflow"

_uri = ""


def set_tracking_uri(uri: str) -> None:
    """Choose where calls of `mlflow` in this process keep runs, without importing MLflow.

    If MLflow is not imported yet, the URI is set as soon as any thread imports it, also for code
    that is not part of this project.
    """
    global _uri
    _uri = uri
    if _MLFLOW in sys.modules:
        # Waits for a thread that is importing it.
        import mlflow

        _apply_to(mlflow)
    elif _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def _apply_to(mlflow: ModuleType) -> None:
    """Set MLflow's tracking URI, but not the environment variable, which MLflow sets too.

    The next session in this process would take the variable for the user's.
    """
    before = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(_uri)
    if before is None:
        os.environ.pop(URI_VARIABLE, None)
    else:
        os.environ[URI_VARIABLE] = before


class _MlflowFinder(MetaPathFinder):
    """Finds MLflow as Python does, and sets the URI before its import ends in any thread."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _MLFLOW else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_set(module: ModuleType) -> None:
                execute(module)
                _apply_to(module)

            spec.loader.exec_module = execute_and_set  # type: ignore[method-assign]
        return spec


_finder: Final = _MlflowFinder()
