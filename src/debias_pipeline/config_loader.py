"""Read conf/ and resolve recipes, the trials of the grid and the catalog."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from debias_pipeline.errors import UserError
from debias_pipeline.names import DEFAULT_STORE, SQLITE
from debias_pipeline.parameters import PATHS, data_folders, resolve_parameters
from debias_pipeline.registry import unknown


class ProjectConfigLoader(OmegaConfigLoader):
    """Read conf/ like Kedro, and resolve the recipes of the run's data set and percent.

    `parameters` contains `<method>.recipe` and `<method>.published_accuracy` instead of the whole
    table of recipes, so that nodes, Kedro-Viz and MLflow see only the values that a run uses. For
    the pipeline `benchmark` it contains the same for every trial (see `grid.resolve_grid`).
    For `tune` it contains the ranges of every method (see `tuning.resolve_tune`).
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
        self._known: dict[tuple[str, Path | None], dict[str, Any]] = {}
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
            UserError: if a file is not valid YAML, or a parameter is invalid.
        """
        # A run reads parameters and catalog several times, which takes a third of its start.
        place = key, self.project
        try:
            if place not in self._known:
                self._known[place] = self._read(key)
            return deepcopy(self._known[place])
        except (YAMLError, UnicodeDecodeError, AttributeError, OmegaConfBaseException) as error:
            environments = (self.base_env, self.env or self.default_run_env)
            for problem in invalid_files(Path(self.conf_source, each) for each in environments):
                raise UserError(problem) from error
            raise

    def _read(self, key: str) -> dict[str, Any]:
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
        grid, search = config.pop("benchmark", None), config.pop("tune", None)
        run = resolve_parameters(config, None if self.env == self.default_run_env else self.env)
        run |= {key: self._in_project(key, run[key]) for key in PATHS}
        # Both import PyTorch; Kedro imports this module at every start.
        if search is not None:
            from debias_pipeline.tuning import resolve_tune

            run["tune"] = resolve_tune(search, config, run)
        if grid is None:
            # Reports link to MLflow without a grid too.
            return {**run, "benchmark": {"mlflow_ui": self._server()}}
        from debias_pipeline.grid import resolve_grid

        resolved = resolve_grid(grid, config, run)
        resolved["benchmark"]["mlflow_ui"] = resolved["benchmark"]["mlflow_ui"] or self._server()
        return {**run, **resolved}

    @staticmethod
    def _soft_merge(
        config: dict[str, Any], env_config: dict[str, Any], env_path: str | None = None
    ) -> dict[str, Any]:
        """Skip the merge if the environment has no such file; it takes a tenth of a run's start.

        This is a private method of Kedro, whose version is pinned.
        """
        if not env_config:
            return config
        merged: dict[str, Any] = OmegaConfigLoader._soft_merge(config, env_config, env_path)
        return merged

    def _in_project(self, key: str, path: str) -> str:
        """Resolve a path from a file in conf/ against the project; leave a typed path unchanged.

        A typed path is relative to the folder in which the command was typed.
        """
        is_typed = not path or key in (self.runtime_params or {})
        if is_typed or ":/" in path or self.project in (None, Path.cwd()):
            return path
        return str(Path(self.project or "", path))

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
        from debias_pipeline.grid import resolve_catalog, trials_of

        parameters = self["parameters"]
        folder, images_folder = data_folders(
            parameters["dataset"], parameters["percent"], parameters["data_options"], parameters
        )
        config: dict[str, Any] = super().__getitem__("catalog")
        return resolve_catalog(config, folder, images_folder, trials_of(parameters))


def invalid_files(folders: Iterable[Path]) -> Iterator[str]:
    """Yield a message with file and line number for each configuration file that cannot be read."""
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.suffix not in (".yml", ".yaml", ".json"):
            continue
        content = path.read_bytes()
        try:
            config = OmegaConf.create(content.decode())
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            yield f"{path}, line {line}, is not UTF-8; save the file as UTF-8"
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            start = mark.index if mark else getattr(error, "position", 0)
            line = content.decode().count("\n", 0, start) + 1
            words = (getattr(error, name, None) for name in ("context", "problem", "reason"))
            reason = ": ".join(word for word in words if word)
            remedy = "indent by spaces, not by tabs" if b"\t" in content else "correct the file"
            yield f"{path}, line {line}, is not valid YAML ({reason}); {remedy}"
        else:
            if not isinstance(config, DictConfig) or not all(
                isinstance(key, str) for key in config
            ):
                yield f"{path} has no names of values at its top; write each as name: value"


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
