"""Read conf/ and resolve recipes, the trials of the grid and the catalog."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kedro.config import MissingConfigException, OmegaConfigLoader

from debias_pipeline.errors import UserError
from debias_pipeline.grid import resolve_catalog, resolve_grid, trials_of
from debias_pipeline.parameters import data_folder, resolve_parameters
from debias_pipeline.registry import unknown
from debias_pipeline.tracking import DEFAULT_STORE, SQLITE


class ProjectConfigLoader(OmegaConfigLoader):
    """Read conf/ like Kedro, and resolve the recipes of the run's data set and percent.

    `parameters` contains `<method>.recipe` and `<method>.published_accuracy` instead of the whole
    table of recipes, so that nodes, Kedro-Viz and MLflow see only the values that a run uses. For
    the pipeline `benchmark` it contains the same for every trial (see `grid.resolve_grid`).
    `catalog` contains the entries of the run and of every trial (see `grid.resolve_catalog`).

    Attributes:
        project: the project's folder. It is set by a hook, since Kedro passes only the path of
            conf/; None before.
    """

    project: Path | None = None

    def __init__(
        self,
        conf_source: str,
        env: str | None = None,
        *args: Any,
        base_env: str,
        default_run_env: str,
        **kwargs: Any,
    ) -> None:
        """Set up; the arguments are those of Kedro's loader.

        Raises:
            UserError: if there is no folder for `env`.
        """
        folder = Path(conf_source)
        if (folder / base_env).is_dir() and not (folder / (env or default_run_env)).is_dir():
            # conf/local may be missing, as Git does not store empty folders.
            if env not in (None, default_run_env):
                known = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
                problem = unknown("environment", str(env), known)
                raise UserError(f"{folder.name}/{env} does not exist. {problem}")
            env, default_run_env = None, base_env
        super().__init__(
            conf_source,
            env,
            *args,
            base_env=base_env,
            default_run_env=default_run_env,
            **kwargs,
        )

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return the configuration of one kind, such as `parameters`.

        Raises:
            UserError: if a parameter is invalid.
        """
        if key == "parameters":
            return self._parameters()
        if key == "catalog":
            return self._catalog()
        config: dict[str, Any] = super().__getitem__(key)
        if key == "mlflow" and self.project is not None:
            return with_store_in(self.project, config)
        return config

    def _parameters(self) -> dict[str, Any]:
        config: dict[str, Any] = super().__getitem__("parameters")
        grid = config.pop("benchmark", None)
        run = resolve_parameters(config, None if self.env == self.default_run_env else self.env)
        if grid is None:
            return run
        resolved = resolve_grid(grid, config, run)
        resolved["benchmark"]["mlflow_ui"] = resolved["benchmark"]["mlflow_ui"] or self._server()
        return {**run, **resolved}

    def _server(self) -> str:
        """Return the address of the MLflow server, without a password; "" if there is none."""
        try:
            uri = str(self["mlflow"]["server"]["mlflow_tracking_uri"])
        except (MissingConfigException, KeyError):
            return ""
        if not uri.startswith(("http://", "https://")):
            return ""
        return urlunsplit(urlsplit(uri)._replace(netloc=urlsplit(uri).netloc.rpartition("@")[2]))

    def _catalog(self) -> dict[str, Any]:
        parameters = self["parameters"]
        folder = data_folder(
            parameters["dataset"], parameters["percent"], parameters["data_options"], parameters
        )
        config: dict[str, Any] = super().__getitem__("catalog")
        return resolve_catalog(config, folder, trials_of(parameters))


def with_store_in(project: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Resolve a relative path of a SQLite store against the project, with artifacts next to it.

    MLflow would resolve it, and its default folder for artifacts, against the current folder.

    Args:
        project: the project's folder.
        config: content of mlflow.yml.
    """
    server = dict(config.get("server") or {})
    uri = server.get("mlflow_tracking_uri") or DEFAULT_STORE
    tracking = dict(config.get("tracking") or {})
    if uri.startswith(SQLITE):
        path, *options = uri.removeprefix(SQLITE).split("?", 1)
        file = project / path
        uri = "?".join([f"{SQLITE}{file.as_posix()}", *options])
        tracking["experiment"] = {
            "create_experiment_kwargs": {"artifact_location": file.with_name("mlruns").as_uri()},
            **(tracking.get("experiment") or {}),
        }
    return {**config, "server": {**server, "mlflow_tracking_uri": uri}, "tracking": tracking}
