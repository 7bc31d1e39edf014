"""Numbers, names and commands as text, the same on pages, in figures and in the terminal."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any, Final, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from debias_pipeline.nested import flattened
from debias_pipeline.records import (
    DataCard,
    Evidence,
    ImagePasses,
    Metrics,
    OverSeeds,
    TrainingRecord,
)
from debias_pipeline.reporting.recipe_changes import RecipeChange

DASH: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"
# Follows the values of references on a leaderboard.
REFERENCE_MARK: Final = "\N{MODIFIER LETTER CAPITAL R}"

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


def known(values: Iterable[float | None]) -> list[float]:
    """Return the values that are not null."""
    return [each for each in values if each is not None]


def median_text(per_seed: Sequence[float | None]) -> str:
    """Return the median of fractions as "median 88.3", "" if there are fewer than three.

    The median of two is their mean.
    """
    values = known(per_seed)
    if len(values) < 3 or len(values) < len(per_seed):
        return ""
    return f"median {100 * median(values):.1f}"


def range_over_seeds(values: OverSeeds | None) -> str:
    """Return counts as "4,000", as "2,500–4,000" if seeds differ, or a dash."""
    counts = known(values["per_seed"]) if values else []
    if not counts:
        return DASH
    low, high = min(counts), max(counts)
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
    if round(seconds) >= 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours:,} h {minutes} min"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(size: int | None) -> str:
    """Return a number of bytes as "640 MiB" or "1.5 GiB", or a dash."""
    if size is None:
        return DASH
    mebibytes = size / 2**20
    return f"{mebibytes:.0f} MiB" if round(mebibytes) < 1024 else f"{mebibytes / 1024:,.1f} GiB"


def passes_text(passes: ImagePasses | None) -> str:
    """Return images forward and backward as "25.6 + 25.6 M" or "480 + 128", or a dash."""
    if passes is None:
        return DASH
    forward, backward = passes["forward"], passes["backward"]
    if forward < 100_000:
        return f"{forward:,} + {backward:,}"
    return f"{forward / 1e6:,.1f} + {backward / 1e6:,.1f} M"


def cost_text(passes: ImagePasses | None, seconds: float | None) -> str:
    """Return "25.6 + 25.6 M; 12 min 34 s", as far as it is known."""
    texts = (passes_text(passes) if passes else "", duration(seconds) if seconds else "")
    return "; ".join(filter(None, texts))


# --- Few images -----------------------------------------------------------------------------------

# A value that rests on fewer images is shown with their number and an interval.
FEW_IMAGES: Final = 200


def interval_text(low: float, high: float) -> str:
    """Return the ends of an interval of fractions as "34–100 %"."""
    return f"{100 * low:.0f}{DASH}{100 * high:.0f} %"


def evidence_text(metric: str, values: OverSeeds, evidence: Evidence | None) -> str:
    """Return how many test images a metric is based on, and its 95 % interval, if they are few.

    Args:
        metric: key of the metric in `RuleMetrics`.
        values: values of the metric over seeds.
        evidence: number of images, and the interval; None if they are not recorded.

    Returns:
        "2 of 2; 34–100 %" (correct predictions of all) for one seed, "2 images; 34–100 %" for
        several seeds, "smallest group: 2; 34–100 %" for means over groups. "" if there are at
        least `FEW_IMAGES` images, or if the metric or `evidence` is unknown.
    """
    if evidence is None or values["mean"] is None or evidence["images"] >= FEW_IMAGES:
        return ""
    images, interval = evidence["images"], interval_text(evidence["low"], evidence["high"])
    if metric in ("group_balanced_accuracy", "adjusted_average_accuracy"):
        return f"smallest group: {images}; {interval}"
    if len(values["per_seed"]) > 1:
        return f"{counted(images, 'image')}; {interval}"
    return f"{round(values['mean'] * images)} of {images}; {interval}"


def counted(count: int, name: str) -> str:
    """Return "1 image" or "1,000 images"."""
    return f"{count:,} {name if count == 1 else f'{name}s'}"


# --- Names from data ------------------------------------------------------------------------------

Attribute = Literal["label", "bias"]


def title_of(record: DataCard | Metrics) -> str:
    """Return the name of a data set: "cmnist, 2pct", or that of the folder of a user's images."""
    # Records of earlier versions lack it.
    return record.get("title") or f"{record['dataset']}, {record['percent']}"


def left_out_in_words(data_card: DataCard) -> str:
    """Return how many files of a folder are not among the images and why, "" if there are none."""
    counts = data_card.get("left_out", {})
    total = sum(counts.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return f"{counted(total, 'file')}: {reasons}" if counts else ""


def with_shown_name(metrics: Metrics, namespace: str) -> Metrics:
    """Return metrics with the name of the method for people.

    Args:
        metrics: metrics of a method.
        namespace: prefix of their catalog entry; it is not the method for published networks,
            whose name becomes, for example, "disent (published checkpoint)".
    """
    method = metrics["method"]
    name = method if namespace == method else f"{method} (published checkpoint)"
    return {**metrics, "method": name}


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
    import matplotlib.font_manager
    from matplotlib.ft2font import FT2Font

    # Other characters would be drawn as empty boxes.
    path = matplotlib.font_manager.findfont("DejaVu Sans")
    return frozenset(FT2Font(path).get_charmap())


# --- Commands -------------------------------------------------------------------------------------


# Keys of `typed_parameters` that belong to training or evaluation and not to the data set.
_OF_TRAINING: Final = ("device", "precision", "threads", "recipe", "pretrained", "bias_labels")


def run_command(
    pipeline: str,
    typed: Mapping[str, Any],
    record: TrainingRecord,
    recipe_changes: Sequence[RecipeChange],
) -> str:
    """Return the command that reproduces the results of one method.

    Args:
        pipeline: name of the pipeline.
        typed: parameters of the run that writes the report, see `parameters.typed_parameters`.
        record: record of the training run.
        recipe_changes: recipe fields of the record that differ from the recipe in the files.
    """
    parameters = {**_of_data(typed)}
    if record.get("pretrained"):
        # Published networks have no seeds.
        parameters["pretrained"] = typed["pretrained"]
    else:
        parameters |= {"seed": record["seeds"][0], "seeds": len(record["seeds"])}
    if "bias_labels" in typed:
        parameters["bias_labels"] = typed["bias_labels"]
    # `auto` depends on the machine, and the number of threads changes the order of sums.
    for key in ("device", "threads"):
        if key in record:
            parameters[key] = record[key]
    if record["precision"] != "fp32":
        parameters["precision"] = record["precision"]
    is_constant = record["recipe"].get("schedule") == "constant"
    for change in recipe_changes:
        # A constant learning rate implies them, and the command line refuses them.
        if not (is_constant and change.field in ("decay_every", "gamma")):
            parameters[f"recipe.{change.field}"] = change.used
    return command(pipeline, parameters, typed.get("env"))


def data_command(pipeline: str, typed: Mapping[str, Any]) -> str:
    """Return the command that runs a pipeline on the data set of a run.

    Args:
        pipeline: a pipeline that does not train, such as ingestion.
        typed: see `parameters.typed_parameters`.
    """
    return command(pipeline, _of_data(typed), typed.get("env"))


def training_command(pipeline: str, typed: Mapping[str, Any]) -> str:
    """Return the command that trains with the parameters of a run.

    Args:
        pipeline: name of the pipeline.
        typed: parameters as returned by `parameters.typed_parameters`; in addition `seed` and
            `seeds` if they differ from the defaults.
    """
    parameters = {key: value for key, value in typed.items() if key not in ("env", "pretrained")}
    return command(pipeline, parameters, typed.get("env"))


def _of_data(typed: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in typed.items() if key not in (*_OF_TRAINING, "env")}


def command(pipeline: str, parameters: Mapping[str, Any], env: str | None = None) -> str:
    """Return a `kedro run` command, quoted for a shell.

    Args:
        pipeline: name of the pipeline.
        parameters: values of `--params`; keys of nested mappings are joined by dots, items of
            lists by plus signs.
        env: Kedro environment; None for the default one.
    """
    typed = typed_params(parameters)
    params = f" --params {shlex.quote(typed)}" if typed else ""
    option = f" --env={shlex.quote(env)}" if env else ""
    return f"kedro run --pipeline={shlex.quote(pipeline)}{option}{params}"


def typed_params(parameters: Mapping[str, Any]) -> str:
    """Return values as the option `--params` takes them, before a shell reads them."""
    return ",".join(f"{key}={_typed_value(value)}" for key, value in flattened(parameters).items())


def _typed_value(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_typed_value, value))
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        read = OmegaConf.from_dotlist([f"value={value}"])["value"]
    except (YAMLError, OmegaConfBaseException):
        return value  # such as @photos: only a parameter that is text as it is typed has it
    # Kedro would read 0123 as a number.
    return value if read == value else json.dumps(value)
