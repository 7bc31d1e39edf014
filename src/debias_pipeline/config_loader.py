"""Reading conf/: recipes looked up, the grid laid out, results filed by what made them."""

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf

from debias_pipeline.grid import DATA_FOLDER, RESULTS_FOLDER, cells_of, grid_catalog, resolve_grid
from debias_pipeline.parameters import data_folder, resolve_parameters


class ProjectConfigLoader(OmegaConfigLoader):
    """Reads conf/ as Kedro does and resolves the recipes of the run's data set and percent.

    `parameters` then holds `<method>.recipe` and `<method>.published_accuracy` in place of the
    whole table, so that nodes, Kedro-Viz and MLflow see what a run uses and nothing else; and,
    for the pipeline `benchmark`, the same of every cell of the grid (see `grid.resolve_grid`).
    `catalog` holds what catalog.yml says, and the entries of every cell.

    Attributes:
        project: the project's folder, once a hook has told; Kedro names only conf/.
    """

    project: Path | None = None

    def __getitem__(self, key: str) -> dict[str, Any]:
        """The configuration of one kind.

        Raises:
            UserError: if a parameter is not what it may be.
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
        run = resolve_parameters(config)
        return run if grid is None else {**run, **resolve_grid(grid, config, run)}

    def _catalog(self) -> dict[str, Any]:
        # Worked out before: OmegaConf would hide why a parameter is refused.
        parameters = self["parameters"]
        folder = data_folder(
            parameters["dataset"], parameters["percent"], parameters["data_options"], parameters
        )
        template = self._catalog_with(DATA_FOLDER, RESULTS_FOLDER)
        return {
            **self._catalog_with(folder, folder),
            **grid_catalog(template, cells_of(parameters)),
        }

    def _catalog_with(self, setting: str, results: str) -> dict[str, Any]:
        """The catalog for one meaning of `${setting:}` and `${results:}`."""
        # Resolvers are of the whole process: each loader puts its own in place.
        OmegaConf.register_resolver("setting", lambda: setting, replace=True)
        OmegaConf.register_resolver("results", lambda: results, replace=True)
        catalog: dict[str, Any] = super().__getitem__("catalog")
        return catalog


def with_store_in(project: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Keep an MLflow store given by a relative path, and its artifacts, in the project.

    MLflow takes such a path from the current folder: a notebook in notebooks/ or a run from a
    subfolder would begin a store of its own there.

    Args:
        project: the project's folder.
        config: of kedro-mlflow, as in mlflow.yml.
    """
    uri = str(config.get("server", {}).get("mlflow_tracking_uri"))
    place = uri.removeprefix("sqlite:///")
    if place == uri or Path(place).is_absolute():
        return config
    server = {
        **config["server"],
        "mlflow_tracking_uri": f"sqlite:///{(project / place).as_posix()}",
    }
    experiment = {
        "create_experiment_kwargs": {"artifact_location": (project / "mlruns").as_uri()},
        **config.get("tracking", {}).get("experiment", {}),
    }
    tracking = {**config.get("tracking", {}), "experiment": experiment}
    return {**config, "server": server, "tracking": tracking}
