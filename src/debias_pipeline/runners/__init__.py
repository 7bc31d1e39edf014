"""Kedro runners that isolate failed trials of a grid, on this machine or on a Dask cluster."""

from typing import TYPE_CHECKING, Any, Final

from debias_pipeline.errors import UserError
from debias_pipeline.runners.isolating import IsolatingRunner

if TYPE_CHECKING:
    from debias_pipeline.runners.dask_runner import DaskRunner

__all__ = ["ON_OTHER_MACHINES", "DaskRunner", "IsolatingRunner"]

# `str()` of a runner whose nodes run on other machines. Kedro passes only this text to hooks.
ON_OTHER_MACHINES: Final = "Dask cluster that is joined"


def __getattr__(name: str) -> Any:
    """Import Dask only if its runner is used, as ordinary runs work without Dask.

    Raises:
        UserError: if Dask is not installed.
    """
    if name != "DaskRunner":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from debias_pipeline.runners.dask_runner import DaskRunner
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise UserError(
            'DaskRunner needs Dask, which is not installed; pip install "debias-pipeline[dask]"'
        ) from error
    return DaskRunner
