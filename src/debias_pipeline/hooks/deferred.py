"""Hooks of a run, which import the modules that do the work when Kedro calls them.

Kedro imports this module at every start, also for `kedro run --help` and for a run that is refused.
PyTorch, MLflow and pandas, which the other modules of this package import, take seconds.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

if TYPE_CHECKING:
    from debias_pipeline.config_loader import ProjectConfigLoader
    from debias_pipeline.grid import Catalog
    from debias_pipeline.hooks.tracking import Tracking


class PreflightHooks:
    """Create the pipelines that depend on parameters, and check a run before it starts."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """See `preflight.create_pipelines_of_run`."""
        from debias_pipeline.hooks.preflight import create_pipelines_of_run

        create_pipelines_of_run(context)

    # Runs before all other hooks, so that an invalid run does not start an MLflow run.
    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: "Catalog"
    ) -> None:
        """See `preflight.check_run`."""
        from debias_pipeline.hooks.preflight import check_run

        check_run(run_params, pipeline, catalog)


class TrackingHooks:
    """Track a run in MLflow; see `tracking.Tracking`.

    They replace the hooks of kedro-mlflow, which contact MLflow for every command, and fail
    with it.
    """

    # The name of kedro-mlflow's hooks. As it is taken, Kedro does not import them.
    __name__ = "mlflow_hook"

    def __init__(self) -> None:
        self._loaded: Tracking | None = None

    def _tracking(self) -> "Tracking":
        from debias_pipeline.hooks.tracking import Tracking

        self._loaded = self._loaded or Tracking()
        return self._loaded

    # Runs before all hooks that read the configuration.
    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Validate the parameters, then read mlflow.yml, without contacting MLflow.

        Raises:
            UserError: if a parameter is unknown or its value is invalid.
        """
        loader = cast("ProjectConfigLoader", context.config_loader)
        loader.project = Path(context.project_path)
        # An invalid parameter is reported before slow packages are imported.
        loader["parameters"]
        self._tracking().read_settings(context)

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: "Catalog"
    ) -> None:
        """See `Tracking.start`."""
        self._tracking().start(run_params, pipeline, catalog)

    @hook_impl
    def before_node_run(self, node: Node, catalog: "Catalog", inputs: dict[str, Any]) -> None:
        """See `Tracking.log_inputs`."""
        self._tracking().log_inputs(node, catalog, inputs)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """See `Tracking.end_node`."""
        self._tracking().end_node(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """See `Tracking.log_output`."""
        self._tracking().log_output(dataset_name, data, node)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the MLflow run."""
        self._tracking().finish()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the MLflow run as failed; see `killed_when_interrupted` for Ctrl-C."""
        self._tracking().fail()


class SummaryHooks:
    """Print the results of a run, and fail it if trials of the grid failed."""

    # Runs after all other hooks, so that the MLflow run has ended when this hook raises.
    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: "Catalog") -> None:
        """See `summary.print_summary`."""
        from debias_pipeline.hooks.summary import print_summary

        print_summary(pipeline, catalog)
