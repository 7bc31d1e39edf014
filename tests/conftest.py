"""Settings of the whole suite."""

import os

from hypothesis import settings

# A developer's own MLflow store is not for tests.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# A slow machine is no failure, and a suite that went red is to go red again.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
