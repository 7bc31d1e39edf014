"""The description that MLflow shows above a run, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

# The tag in which MLflow keeps the description.
NOTE: Final = "mlflow.note.content"


def describe(
    methods: Sequence[str],
    data: str,
    seeds: Sequence[int],
    recipe_changes: Mapping[str, str] | None = None,
    command: str = "",
    *,
    stage: str = "trained and evaluated",
) -> str:
    """Return a description: what was run, on which data, how the recipe differs, the command.

    Args:
        methods: names of the methods; may be empty.
        data: name of the data, such as `cmnist 2pct`.
        seeds: random seeds.
        recipe_changes: by method, a text that says how its recipe differs from the one in the
            project's files; None leaves the recipe out.
        command: the command line; "" leaves it out.
        stage: what was done.
    """
    names = ", ".join(f"**{name}**" for name in methods)
    seeds_named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    what = f"{names}: {stage} on {_code(data)}, {seeds_named}." if methods else f"{_code(data)}."
    parts = [what]
    for method, changes in (recipe_changes or {}).items():
        except_for = f", except {_code(changes)}" if changes else ""
        parts.append(f"Recipe of {method}: the one in the project's files{except_for}.")
    if command:
        parts.append(f"Command: {_code(command)}")
    return "\n\n".join(parts)


def describe_data(name: str, facts: Mapping[str, Any]) -> str:
    """Return the part of a description that is known when the data was built."""
    return f"Data {_code(name)}: {_code(_listed(facts))}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _code(text: str) -> str:
    """Return a text that Markdown shows as it is, whatever a folder or label is called."""
    return f"`{text.replace('`', chr(39)).replace(chr(10), ' ')}`"
