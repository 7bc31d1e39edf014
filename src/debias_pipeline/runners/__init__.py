"""Other ways to run a pipeline than one node after the other."""

from debias_pipeline.errors import UserError

try:
    from debias_pipeline.runners.dask_runner import DaskRunner
except ModuleNotFoundError as error:
    if error.name not in ("dask", "distributed"):
        raise
    raise UserError(
        'DaskRunner needs Dask, which is not installed: pip install "debias-pipeline[dask]"'
    ) from error

__all__ = ["DaskRunner"]
