"""Conditions that tables show next to accuracies: bias labels, cost, and collapsed seeds."""

from collections.abc import Sequence
from typing import Final

from debias_pipeline.collapse import FAR_BELOW, MOST_DEAD
from debias_pipeline.names import ORACLE_LABELS, BiasLabels
from debias_pipeline.records import Metrics, TrainingRecord
from debias_pipeline.reporting.text import duration, passes_text, percentage
from debias_pipeline.selection_rules import SELECTED, SELECTION_RULES, SelectionRule

BIAS_LABELS_EXPLAINED: Final = (
    "Bias labels: those that a result rests on. none; tuning: they choose the step or the "
    "hyper-parameters; held-out, training: the method is trained with those of held-out or "
    "training images. Such a method is an oracle: it is listed apart and never ranked."
)
COST_EXPLAINED: Final = (
    "images forward + backward through networks in training, of one seed. An image counts once for "
    "each network, in all stages and helper networks, whatever their size; evaluations do not count"
)
COLLAPSED_EXPLAINED: Final = (
    f"A seed has collapsed if at least {MOST_DEAD:.0%} of its feature units are zero for every "
    "validation image, or if it has more such units than the median seed and an accuracy at least "
    f"{100 * FAR_BELOW:.0f} points below the median of three or more seeds. Means and standard "
    "deviations include it."
).replace("%", " %")


def is_oracle(labels: BiasLabels | None) -> bool:
    """Return whether a method that uses these bias labels is an oracle."""
    return labels in ORACLE_LABELS


def name_with_oracle(method: str, is_oracle: bool) -> str:
    """Return the name of a method, with "(oracle)" after that of an oracle."""
    return f"{method} (oracle)" if is_oracle else method


def bias_labels_text(labels: BiasLabels | None, rule: SelectionRule | None = None) -> str:
    """Return which bias labels a result rests on: "none", "tuning", "held-out" or "training".

    Args:
        labels: those that the method uses; None if it is not recorded.
        rule: the selection rule of the result, which may use those of the validation split.

    Returns:
        "" if it is not recorded.
    """
    if labels is None:
        return ""
    if labels == "none" and rule == SELECTED:
        return "tuning"
    return "held-out" if labels == "heldout" else labels


def collapsed_text(seeds: Sequence[int]) -> str:
    """Return "seed 3 collapsed" or "seeds 3, 5 collapsed", "" without seeds."""
    if not seeds:
        return ""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))} collapsed"


def collapsed_of(metrics: Metrics, rule: SelectionRule) -> str:
    """Return which seeds have collapsed under a selection rule, "" if none is known to have."""
    return collapsed_text(metrics.get("collapsed", {}).get(rule.key, []))


def collapsed_sentences(metrics: Sequence[Metrics]) -> list[str]:
    """Return a sentence for each method and set of seeds that collapsed, without a full stop."""
    sentences = []
    for of_method in metrics:
        rules: dict[str, list[SelectionRule]] = {}
        for rule in SELECTION_RULES.values():
            if text := collapsed_of(of_method, rule):
                rules.setdefault(text, []).append(rule)
        for text, of_text in rules.items():
            names = ", ".join(rule.name for rule in of_text)
            shares = _dead_units_in_words(of_method, of_text[0])
            sentences.append(f"{of_method['method']}: {text} ({names}); {shares}")
    return sentences


def _dead_units_in_words(metrics: Metrics, rule: SelectionRule) -> str:
    per_seed = metrics["dead_units"][rule.key]["per_seed"]
    shares = dict(zip(metrics["seeds"], per_seed, strict=True))
    of_seeds = ", ".join(percentage(shares[seed], 0) for seed in metrics["collapsed"][rule.key])
    return f"dead feature units at {rule.name}: {of_seeds}"


def cost_in_words(record: TrainingRecord) -> str:
    """Return the cost of a training run as a sentence, "" if it is not recorded."""
    if "seconds" not in record:
        return ""
    took = f"Training took {duration(record['seconds'])} for all seeds together"
    passes = record.get("image_passes")
    if passes is None:
        return f"{took}."
    return f"{took}; {passes_text(passes)} {COST_EXPLAINED}."
