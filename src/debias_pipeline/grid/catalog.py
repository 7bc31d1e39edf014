"""Make the catalog entries of a run and of every trial from the factories in catalog.yml."""

from collections.abc import Iterable, Mapping
from typing import Any

from kedro.io import CatalogProtocol, DataCatalog, DatasetError
from kedro.io.catalog_config_resolver import CatalogConfigResolver

from debias_pipeline.grid.trials import IMAGE_ENTRIES, SETTING_ENTRIES, TRIAL_ENTRIES, Trial

Catalog = CatalogProtocol[Any, Any]

# A trial logs its final metrics to its own MLflow run, so they need no file.
IN_MEMORY = {"type": "kedro.io.MemoryDataset"}


class _Factory:
    """A dataset factory such as `<{folder}>.{method}.metrics`."""

    def __init__(self, pattern: str, entry: Mapping[str, Any]) -> None:
        self._pattern = pattern
        # Kedro resolves each value separately, which is slow for a large grid.
        self._constant = {key: value for key, value in entry.items() if "{" not in str(value)}
        varying = {key: value for key, value in entry.items() if key not in self._constant}
        self._resolver = CatalogConfigResolver(
            {pattern: varying}, default_runtime_patterns=DataCatalog.default_runtime_patterns
        )

    def entry(self, folder: str, method: str = "{method}") -> dict[str, Any]:
        """Return the entry of a method in a folder; by default keep the placeholder `{method}`."""
        name = self._pattern.replace("{folder}", folder).replace("{method}", method)
        return {**self._constant, **self._resolver.resolve_pattern(name)}


def resolve_catalog(
    config: Mapping[str, Any], folder: str, images_folder: str, trials: Iterable[Trial]
) -> dict[str, Any]:
    """Resolve the dataset factories for the data set of a run and for the trials of a grid.

    Args:
        config: content of catalog.yml. Names of factories begin with `<{folder}>.`.
        folder: folder of the run's data set, such as cmnist/0.5pct.
        images_folder: folder of its images; see `BiasedDataset.images_folder`.
        trials: trials of the grid.

    Returns:
        Entries that are not factories, unchanged; `images`, `{method}.metrics` and so on for the
        run; `<setting>.images` and so on, shared by the trials of a setting; and
        `<setting>.<method>.metrics` and so on.

    Raises:
        DatasetError: if an entry contains a placeholder that its name does not contain.
    """
    factories = {
        pattern.partition(">.")[2]: _Factory(pattern, entry)
        for pattern, entry in config.items()
        if pattern.startswith("<")
    }
    entries = {name: entry for name, entry in config.items() if not name.startswith("<")}
    entries |= {
        name: factory.entry(_folder_of(name, folder, images_folder))
        for name, factory in factories.items()
    }
    settings: set[str] = set()
    for trial in trials:
        if trial.setting not in settings:
            settings.add(trial.setting)
            for name in (*SETTING_ENTRIES, "bad_files"):
                place = _folder_of(name, trial.data_folder, trial.images_folder)
                entry = factories[name].entry(place)
                entries[f"{trial.setting}.{name}"] = _with_own_artifacts(trial.setting, entry)
        for name in (*TRIAL_ENTRIES, "snapshots"):
            factory = factories[f"{{method}}.{name}"]
            entries[f"{trial.name}.{name}"] = factory.entry(trial.results_folder, trial.method)
        entries[f"{trial.name}.final_metrics"] = IN_MEMORY
    return entries


def _folder_of(name: str, folder: str, images_folder: str) -> str:
    return images_folder if name in IMAGE_ENTRIES else folder


def _with_own_artifacts(setting: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry with the setting in its MLflow artifact path, so that paths are unique."""
    metadata = entry.get("metadata", {})
    if "mlflow_artifact" not in metadata:
        return entry
    path = f"{setting}/{metadata['mlflow_artifact']}"
    return {**entry, "metadata": {**metadata, "mlflow_artifact": path}}


def load_or_none(catalog: Catalog, name: str) -> Any:
    """Return the data of an entry, or None if it does not exist or cannot be read.

    Unlike `catalog.load`, this does not log.
    """
    dataset = catalog.get(name)
    try:
        return dataset.load() if dataset is not None and dataset.exists() else None
    except DatasetError:
        return None
