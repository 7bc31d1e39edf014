"""Read the settings of tracking from mlflow.yml."""

import os
from pathlib import Path

import mlflow
from kedro.config import OmegaConfigLoader
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from omegaconf import OmegaConf

from debias_pipeline.tracking.store import Destination
from debias_pipeline.validation import validated

_VARIABLE = "MLFLOW_TRACKING_URI"


def mlflow_config(loader: OmegaConfigLoader) -> KedroMlflowConfig:
    """Read mlflow.yml.

    Raises:
        UserError: if it has unknown keys or invalid values.
    """
    return validated(KedroMlflowConfig, loader["mlflow"], what="key", file="mlflow.yml")


def destination_of(loader: OmegaConfigLoader, config: KedroMlflowConfig) -> Destination:
    """Return where MLflow keeps the runs of the project."""
    experiment = config.tracking.experiment
    return Destination(
        uri=config.server.mlflow_tracking_uri,
        source=_source_of_uri(loader),
        experiment=experiment.name,
        artifacts=experiment.create_experiment_kwargs.artifact_location,
    )


def credentials_of(loader: OmegaConfigLoader, config: KedroMlflowConfig) -> dict[str, str]:
    """Return the environment variables that mlflow.yml names in credentials.yml."""
    if config.server.credentials is None:
        return {}
    variables = loader["credentials"][config.server.credentials]
    return {name: str(value) for name, value in variables.items()}


def set_tracking_uri(uri: str) -> None:
    """Set the store that calls of `mlflow` in this process use.

    MLflow also sets the variable MLFLOW_TRACKING_URI; it is restored, as the next session in this
    process would read it as the user's.
    """
    before = os.environ.get(_VARIABLE)
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = before


def _source_of_uri(loader: OmegaConfigLoader) -> str:
    """Return the file or variable that sets the tracking URI, for error messages."""
    folder = Path(loader.conf_source)
    for env in (loader.env or loader.default_run_env, loader.base_env):
        file = folder / env / "mlflow.yml"
        server = OmegaConf.select(OmegaConf.load(file), "server") if file.is_file() else None
        if server is not None and "mlflow_tracking_uri" in server:
            raw = OmegaConf.to_container(server, resolve=False)
            if os.environ.get(_VARIABLE) and _VARIABLE in str(raw):
                return f"the variable {_VARIABLE}"
            return f"{folder.name}/{env}/mlflow.yml"
    return f"{folder.name}/{loader.base_env}/mlflow.yml"
