"""Read the settings of tracking from mlflow.yml."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, StrictBool

from debias_pipeline.tracking.tracking_uri import URI_VARIABLE
from debias_pipeline.validation import validated


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _RequestHeaderProvider(_Section):
    type: str | None = None
    pass_context: bool = False
    init_kwargs: dict[str, str] = {}


class _Server(_Section):
    mlflow_tracking_uri: str
    mlflow_registry_uri: str | None = None
    credentials: str | None = None
    request_header_provider: _RequestHeaderProvider = _RequestHeaderProvider()


class _DisableTracking(_Section):
    pipelines: list[str] = []
    disable_autologging: bool = True


class _CreateExperiment(_Section):
    artifact_location: str | None = None
    tags: dict[str, Any] | None = None


class _Experiment(_Section):
    name: str = "Default"
    create_experiment_kwargs: _CreateExperiment = _CreateExperiment()
    restore_if_deleted: StrictBool = True


class _Run(_Section):
    id: str | None = None
    name: str | None = None
    nested: StrictBool = True


class _DictParams(_Section):
    flatten: StrictBool = False
    recursive: StrictBool = True
    sep: str = "."


class _Params(_Section):
    dict_params: _DictParams = _DictParams()
    long_params_strategy: Literal["fail", "truncate", "tag"] = "fail"


class _Tracking(_Section):
    disable_tracking: _DisableTracking = _DisableTracking()
    experiment: _Experiment = _Experiment()
    run: _Run = _Run()
    params: _Params = _Params()


class _Ui(_Section):
    port: str = "5000"
    host: str = "127.0.0.1"


class MlflowSettings(_Section):
    """The content of mlflow.yml, with the keys, types and defaults of kedro-mlflow.

    Only `mlflow_tracking_uri` has no default, as `ProjectConfigLoader` sets it. The class of
    kedro-mlflow itself imports MLflow, and training does not wait for that.
    """

    server: _Server
    tracking: _Tracking = _Tracking()
    ui: _Ui = _Ui()


@dataclass(frozen=True)
class Destination:
    """Where MLflow keeps the runs of a project.

    Attributes:
        uri: the tracking URI.
        source: the file or variable that sets the URI, for messages.
        experiment: name of the experiment.
        artifacts: URI of the folder for artifacts of a new experiment; None is MLflow's default.
    """

    uri: str
    source: str
    experiment: str
    artifacts: str | None = None


def mlflow_settings(loader: OmegaConfigLoader) -> MlflowSettings:
    """Read mlflow.yml.

    Raises:
        UserError: if it has unknown keys or invalid values.
    """
    return validated(MlflowSettings, loader["mlflow"], what="key", file="mlflow.yml")


def destination_of(loader: OmegaConfigLoader, config: MlflowSettings) -> Destination:
    """Return where MLflow keeps the runs of the project."""
    experiment = config.tracking.experiment
    return Destination(
        uri=config.server.mlflow_tracking_uri,
        source=_source_of_uri(loader),
        experiment=experiment.name,
        artifacts=experiment.create_experiment_kwargs.artifact_location,
    )


def credentials_of(loader: OmegaConfigLoader, config: MlflowSettings) -> dict[str, str]:
    """Return the environment variables that mlflow.yml names in credentials.yml."""
    if config.server.credentials is None:
        return {}
    variables = loader["credentials"][config.server.credentials]
    return {name: str(value) for name, value in variables.items()}


def _source_of_uri(loader: OmegaConfigLoader) -> str:
    """Return the file or variable that sets the tracking URI, for error messages."""
    folder = Path(loader.conf_source)
    for env in (loader.env or loader.default_run_env, loader.base_env):
        file = folder / env / "mlflow.yml"
        server = OmegaConf.select(OmegaConf.load(file), "server") if file.is_file() else None
        if server is not None and "mlflow_tracking_uri" in server:
            raw = OmegaConf.to_container(server, resolve=False)
            if os.environ.get(URI_VARIABLE) and URI_VARIABLE in str(raw):
                return f"the variable {URI_VARIABLE}"
            return f"{folder.name}/{env}/mlflow.yml"
    return f"{folder.name}/{loader.base_env}/mlflow.yml"
