"""An empty store of MLflow, and its command for `ForkedProcess`."""

import functools
import tempfile
from pathlib import Path

import mlflow


@functools.cache
def empty_database() -> bytes:
    """Return the content of an MLflow database without experiments; it takes MLflow seconds."""
    with tempfile.TemporaryDirectory() as folder:
        mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


def mlflow_command(*arguments: str) -> None:
    """Do what `mlflow` does with these arguments."""
    from mlflow.cli import cli

    cli(arguments)
