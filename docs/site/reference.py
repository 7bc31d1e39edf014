"""Reference pages, made from the configuration and from the fields and docstrings of the code."""

import re
import typing
from collections.abc import Callable, Iterable, Mapping
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from debias_pipeline import records
from debias_pipeline.biased_data import dataset_names, get_dataset
from debias_pipeline.biased_data.base import DataOptions
from debias_pipeline.cli import cli
from debias_pipeline.methods import get_method, method_names
from debias_pipeline.methods.base import Recipe
from debias_pipeline.parameters import RunParameters
from debias_pipeline.selection_rules import SELECTION_RULES

CONF = Path(__file__).parents[2] / "conf" / "base"


def parameters() -> str:
    """Return tables of the parameters of a run and of the options of data sets."""
    comments = _comments(CONF / "parameters.yml")
    defaults = yaml.safe_load((CONF / "parameters.yml").read_text(encoding="utf-8"))
    rows = [
        (f"`{name}`", _allowed(field), _code(defaults[name]), comments.get(name, ""))
        for name, field in RunParameters.model_fields.items()
    ]
    parts = ["## Parameters of a run", _table(("parameter", "value", "default", ""), rows)]
    parts.append("## Options of data sets")
    rows = []
    for name in dataset_names():
        options = get_dataset(name).options_type
        if options is not DataOptions:
            rows += [(f"`{name}`", *row) for row in _fields(options)]
    parts.append(_table(("data set", "parameter", "value", "default", ""), rows))
    return "\n\n".join(parts)


def recipes() -> str:
    """Return tables of the fields of recipes: those of all methods, then those of each."""
    parts = ["## Recipe fields of every method", _table(_FIELDS, _fields(Recipe))]
    parts.append("## Recipe fields of single methods")
    rows = [
        (f"`{name}`", *row)
        for name in method_names()
        for row in _fields(get_method(name).recipe_type, without=Recipe)
    ]
    parts.append(_table(("method", *_FIELDS), rows))
    return "\n\n".join(parts)


def catalog() -> str:
    """Return tables of the entries of catalog.yml by section."""
    text = (CONF / "catalog.yml").read_text(encoding="utf-8")
    entries = yaml.safe_load(text)
    parts, rows = [], []
    headings = {
        name: heading
        for section in re.split(r"^# --- ", text, flags=re.M)[1:]
        for heading, body in [section.split(" ---", 1)]
        for name in re.findall(r'^"?([^\s"#_-][^":#\n]*)"?:', body, re.M)
    }
    heading = ""
    for name, entry in entries.items():
        if name.startswith("_"):
            continue
        if headings[name] != heading:
            parts += [_table(_ENTRIES, rows)] if rows else []
            heading, rows = headings[name], []
            parts.append(f"## {heading}")
        place = entry.get("filepath") or entry["path"]
        # A narrow column breaks paths at slashes.
        place = place.replace("${_root}", "data").replace("/", "/<wbr>")
        rows.append(
            (
                f"`{name.rpartition('>.')[2]}`",
                entry["metadata"]["description"],
                f"<code>{place}</code>",
                "yes" if entry.get("versioned") else "",
            )
        )
    return "\n\n".join([*parts, _table(_ENTRIES, rows)])


def metrics() -> str:
    """Return tables of the records that the catalog stores as JSON, and of selection rules."""
    rules = [(f"`{rule.key}`", rule.description, rule.needs) for rule in SELECTION_RULES.values()]
    parts = ["## Selection rules", _table(("key", "", "needs"), rules)]
    for record in (
        records.Metrics,
        records.RuleMetrics,
        records.OverSeeds,
        records.Evidence,
        records.AttributeMetrics,
        records.TrainingRecord,
        records.DataCard,
        records.DataDescription,
        records.SplitSummary,
        records.LabelBiasAssociation,
        records.LabelEstimates,
        records.Estimate,
        records.Outcome,
    ):
        rows = [(f"`{key}`", _type(hint)) for key, hint in record.__annotations__.items()]
        parts += [f"## {record.__name__}", getdoc(record) or "", _table(("key", "value"), rows)]
    return "\n\n".join(parts)


def commands() -> str:
    """Return the help texts of the project's commands."""
    context = click.Context(cli, info_name="kedro")
    parts = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        help_text = command.get_help(click.Context(command, context, name, max_content_width=90))
        parts.append(f"## kedro {name}\n\n```text\n{help_text}\n```")
    return "\n\n".join(parts)


CONTENT: Final[Mapping[str, Callable[[], str]]] = {
    "parameters": parameters,
    "recipes": recipes,
    "catalog": catalog,
    "metrics": metrics,
    "commands": commands,
}
_FIELDS = ("field", "value", "default", "")
_ENTRIES = ("entry", "", "file", "versioned")


def _fields(
    model: type[BaseModel], without: type[BaseModel] | None = None
) -> list[tuple[str, ...]]:
    """Return rows of the fields of a model: name, allowed values, default, description."""
    skipped = {
        name: str(field) for name, field in (without.model_fields if without else {}).items()
    }
    described = _descriptions(model)
    return [
        (
            f"`{name}`",
            _allowed(field),
            "" if field.default is PydanticUndefined else _code(field.default),
            described.get(name, ""),
        )
        for name, field in model.model_fields.items()
        if skipped.get(name) != str(field)
    ]


def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return what the sections Attributes of a class and its bases say about each attribute."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        section = (each.__doc__ or "").partition("Attributes:\n")[2]
        # An attribute begins with 8 spaces, its further lines with 12.
        for names, text in re.findall(
            r"^ {8}(\w[\w, ]*): (.*(?:\n {12,}.*)*)", section, re.MULTILINE
        ):
            text = re.sub(r"\s+", " ", text)
            if not text.startswith("see `TwoBranch"):
                found |= dict.fromkeys(names.split(", "), text)
    return found


def _comments(path: Path) -> dict[str, str]:
    """Return the comments of the keys of a YAML file: the lines above and the end of the line."""
    found, above = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            above.append(line.removeprefix("#").strip())
            continue
        if key := re.match(r'"?([^\s"#][^":#]*)"?:', line):
            after = line.partition(" # ")[2]
            found[key[1]] = " ".join([*above, *([after] if after else [])])
        above = []
    return found


def _allowed(field: FieldInfo) -> str:
    """Return the type of a field and the bounds of its values."""
    bounds = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    limits = [
        f"{sign} {getattr(each, key)}"
        for each in field.metadata
        for key, sign in bounds.items()
        if getattr(each, key, None) is not None
    ]
    return ", ".join([_type(field.annotation), *limits])


def _type(hint: Any) -> str:
    """Return a type as text, a choice as its values."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{each}`" for each in typing.get_args(hint))
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    text = re.sub(r"(?:typing|debias_pipeline\.\w+)\.", "", text)
    text = re.sub(r"NotRequired\[(.*)\]$", r"\1", text)
    return re.sub(r"Literal\[([^]]*)\]", r"\1", text)


def _code(value: Any) -> str:
    return "null" if value is None else f"`{value}`" if value != "" else "empty"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [[*header], ["---"] * len([*header]), *([*row] for row in rows)]
    return "\n".join(
        f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |" for line in lines
    )
