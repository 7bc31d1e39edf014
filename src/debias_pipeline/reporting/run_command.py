"""The command that makes a run again."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from debias_pipeline.nested import flattened


def run_command(
    pipeline: str,
    typed: Mapping[str, Any],
    record: Mapping[str, Any],
    recipe: Mapping[str, Any],
) -> str:
    """Return the command that makes the results of one method again.

    Args:
        pipeline: its name.
        typed: what a command must contain, see `parameters.typed_parameters`; its `recipe` contains
            the fields that were overridden.
        record: the training record: recipe, seeds, precision and, if known, threads that were used.
        recipe: of the method as parameters have it now; where the record's differs, it was
            overridden when it was trained.
    """
    seeds = record["seeds"]
    parameters = {
        **{key: value for key, value in typed.items() if key not in ("recipe", "precision", "env")},
        "seed": seeds[0],
        "seeds": len(seeds),
    }
    if record["precision"] != "fp32":
        parameters["precision"] = record["precision"]
    # The number of threads changes the order of sums; auto begins with the number of cores.
    if "threads" in record:
        parameters["threads"] = record["threads"]
    for key, value in record["recipe"].items():
        if key in typed["recipe"] or (key in recipe and value != recipe[key]):
            parameters[f"recipe.{key}"] = value
    return command(pipeline, parameters, typed.get("env"))


def command(pipeline: str, parameters: Mapping[str, Any], env: str | None = None) -> str:
    """Return a command as one would type it.

    Args:
        pipeline: its name.
        parameters: by key; keys of a nested mapping are joined by dots, items of a list by plus.
        env: Kedro environment; None for the default one.
    """
    typed = ",".join(f"{key}={_text(value)}" for key, value in flattened(parameters).items())
    params = f" --params {shlex.quote(typed)}" if typed else ""
    option = f" --env={shlex.quote(env)}" if env else ""
    return f"kedro run --pipeline={shlex.quote(pipeline)}{option}{params}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value)
