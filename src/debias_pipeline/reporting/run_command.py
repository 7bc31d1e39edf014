"""The command that makes a run again."""

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd


def run_command(method: str, metrics: Mapping[str, Any], history: pd.DataFrame) -> str:
    """Write the command as one would type it.

    Args:
        method: its name, which is its pipeline's too.
        metrics: name the data set and its percent.
        history: a row per evaluation step and seed; tells which seeds were run.
    """
    seeds = sorted(int(seed) for seed in history["seed"].unique())
    parameters = [f"dataset={metrics['dataset']}", f"percent={metrics['percent']}"]
    if seeds:
        parameters += [f"seed={seeds[0]}", f"seeds={len(seeds)}"]
    pipeline, params = shlex.quote(f"{method}"), shlex.quote(",".join(parameters))
    return f"kedro run --pipeline={pipeline} --params {params}"
