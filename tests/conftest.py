"""Settings of the whole suite."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Shells start background jobs with Ctrl-C ignored, which processes that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A developer's own MLflow store is not for tests.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# A slow machine is no failure, and a suite that went red is to go red again.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

# Tests in these folders start processes, clusters or notebooks.
_SLOW_FOLDERS = {"docs", "integration", "runners"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests by their folder; others that are slow are marked one by one."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in _SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
