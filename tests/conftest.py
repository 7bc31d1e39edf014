"""Settings of the whole suite."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Shells start background jobs with Ctrl-C ignored, which processes that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Kedro searches for this package at each of its thousand parameters, if it is missing.
sys.modules.setdefault("ibis", None)  # type: ignore[arg-type]

# A developer's own MLflow store is not for tests.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# A slow machine is no failure, and a suite that went red is to go red again.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")

# Tests in these folders start processes, clusters or notebooks.
_SLOW_FOLDERS = {"docs", "integration", "runners"}
# What is promised of every method is tested of these among the fast tests.
_FAST_METHODS = {"vanilla", "disent"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import slow tests where none of them runs: what they import takes seconds."""
    return (config.option.markexpr == "not slow" and _is_slow(collection_path)) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests by their folder or method; others that are slow are marked one by one."""
    for item in items:
        method = item.callspec.params.get("method") if hasattr(item, "callspec") else None
        if _is_slow(item.path) or not (method is None or method in _FAST_METHODS):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Exclude what was imported from garbage collection, which would visit it again and again."""
    gc.freeze()


def _is_slow(path: Path) -> bool:
    tests = Path(__file__).parent
    return any(path.is_relative_to(tests / folder) for folder in _SLOW_FOLDERS)
