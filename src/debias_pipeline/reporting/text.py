"""Numbers, names and commands as text, the same on pages, in figures and in the terminal."""

import json
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

import matplotlib.font_manager
from matplotlib.ft2font import FT2Font

from debias_pipeline.nested import flattened
from debias_pipeline.records import DataCard, OverSeeds, TrainingRecord

DASH: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"

# --- Numbers --------------------------------------------------------------------------------------


def percentage(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction in 0..1 as "86.1 %", or a dash if it is unknown."""
    return DASH if fraction is None else f"{100 * fraction:.{digits}f} %"


def mean_and_std(mean: float | None, std: float | None, scale: float = 100, digits: int = 1) -> str:
    """Return "86.1 ± 0.7", "86.1" if there is no standard deviation, or a dash.

    Args:
        mean: over seeds, None if unknown.
        std: over seeds, None for one seed.
        scale: both numbers are multiplied by it; 100 gives per cent.
        digits: digits after the decimal point.
    """
    if mean is None:
        return DASH
    text = f"{scale * mean:.{digits}f}"
    return text if std is None else f"{text} ± {scale * std:.{digits}f}"


def percentage_over_seeds(values: OverSeeds | None) -> str:
    """Return fractions over seeds as "86.1 ± 0.7 %", "86.1 %" for one seed, or a dash."""
    if values is None or values["mean"] is None:
        return DASH
    return f"{mean_and_std(values['mean'], values['std'])} %"


def range_over_seeds(values: OverSeeds | None) -> str:
    """Return counts as "4,000", as "2,500–4,000" if seeds differ, or a dash."""
    known = [value for value in values["per_seed"] if value is not None] if values else []
    if not known:
        return DASH
    low, high = min(known), max(known)
    return f"{low:,.0f}" if low == high else f"{low:,.0f}{DASH}{high:,.0f}"


def points(difference: float) -> str:
    """Return a difference of fractions in percentage points with its sign: "+34.9" or "−0.4"."""
    rounded = round(100 * difference, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{abs(rounded):.1f}"


def duration(seconds: float | None) -> str:
    """Return "4.3 s", "48 s", "12 min 30 s", "3 h 5 min", or a dash."""
    if seconds is None:
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds >= 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours:,} h {minutes} min"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(size: int | None) -> str:
    """Return a number of bytes as "640 MiB" or "1.5 GiB", or a dash."""
    if size is None:
        return DASH
    mebibytes = size / 2**20
    return f"{mebibytes:,.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:,.1f} GiB"


# --- Names from data ------------------------------------------------------------------------------

Attribute = Literal["label", "bias"]


def attribute_name(data_card: DataCard, attribute: Attribute, value: int) -> str:
    """Return the name of a label or bias value, or its number if it has no name."""
    names = data_card["label_names"] if attribute == "label" else data_card["bias_names"]
    return str(names[value]) if 0 <= value < len(names) else str(value)


def drawable_name(data_card: DataCard, attribute: Attribute, value: int, most: int) -> str:
    """Return the name of a label or bias value for a figure, at most `most` characters long.

    It is "" for an unknown value (−1), and "label 3" if the font lacks characters of the name.
    """
    if value < 0:
        return ""
    name = attribute_name(data_card, attribute, value)
    drawable = all(ord(character) in _characters_of_font() for character in name)
    return shortened(name, most) if drawable else f"{attribute} {value}"


def shortened(text: str, most: int) -> str:
    """Return text on one line, cut to at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


@cache
def _characters_of_font() -> frozenset[int]:
    # Other characters would be drawn as empty boxes.
    path = matplotlib.font_manager.findfont("DejaVu Sans")
    return frozenset(FT2Font(path).get_charmap())


# --- Commands -------------------------------------------------------------------------------------


def run_command(
    pipeline: str, typed: Mapping[str, Any], record: TrainingRecord, recipe: Mapping[str, Any]
) -> str:
    """Return the command that reproduces the results of one method.

    Args:
        pipeline: name of the pipeline.
        typed: parameters that the command must name, see `parameters.typed_parameters`; its
            `recipe` has the overridden fields.
        record: of the training run.
        recipe: recipe of the method according to the current parameters; fields in which the
            recorded recipe differs were overridden in the training run.
    """
    seeds = record["seeds"]
    parameters = {
        **{key: value for key, value in typed.items() if key not in ("recipe", "precision", "env")},
        "seed": seeds[0],
        "seeds": len(seeds),
    }
    if record["precision"] != "fp32":
        parameters["precision"] = record["precision"]
    # The number of threads changes the order of sums, and `auto` depends on the machine.
    if "threads" in record:
        parameters["threads"] = record["threads"]
    for key, value in record["recipe"].items():
        if key in typed["recipe"] or (key in recipe and value != recipe[key]):
            parameters[f"recipe.{key}"] = value
    return command(pipeline, parameters, typed.get("env"))


def command(pipeline: str, parameters: Mapping[str, Any], env: str | None = None) -> str:
    """Return a `kedro run` command, quoted for a shell.

    Args:
        pipeline: name of the pipeline.
        parameters: values of `--params`; keys of nested mappings are joined by dots, items of
            lists by plus signs.
        env: Kedro environment; None for the default one.
    """
    typed = ",".join(f"{key}={_typed_value(value)}" for key, value in flattened(parameters).items())
    params = f" --params {shlex.quote(typed)}" if typed else ""
    option = f" --env={shlex.quote(env)}" if env else ""
    return f"kedro run --pipeline={shlex.quote(pipeline)}{option}{params}"


def _typed_value(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_typed_value, value))
    return value if isinstance(value, str) else json.dumps(value)
