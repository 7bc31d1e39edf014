"""What the figures say of each method against the first, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from debias_pipeline.reporting.formatting import known, percentage


def findings(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the figures say of each method against the first, one plain sentence each.

    Args:
        metrics: of each method, the baseline first; fractions in 0..1.

    Returns:
        A sentence for each method but the first, about the last step.
    """
    return [_finding(metrics[0], other) for other in metrics[1:]]


def _finding(baseline: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    names = other["method"], baseline["method"]
    for key, images in (
        ("conflicting_accuracy", "bias-conflicting test images"),
        ("accuracy", f"the {'unbiased ' if baseline.get('unbiased_test') else ''}test split"),
    ):
        mine, base = (m["checkpoints"]["last"][key] for m in (other, baseline))
        mean, base_mean = known(mine["mean"]), known(base["mean"])
        if mean is None or base_mean is None:
            continue
        difference = mean - base_mean
        spread = _spread(difference, mine, base, names)
        return (
            f"On {images} {names[0]} gets {percentage(mean)}, {names[1]} "
            f"{percentage(base_mean)}: {_in_words(difference)}{spread}."
        )
    return f"{names[0]} and {names[1]} can't be compared: an accuracy is missing."


def _in_words(difference: float) -> str:
    size = f"{abs(100 * difference):.1f}"
    if size == "0.0":
        return "no difference"
    return f"{size} points {'more' if difference > 0 else 'fewer'}"


def _spread(
    difference: float, mine: Mapping[str, Any], base: Mapping[str, Any], names: tuple[str, str]
) -> str:
    """Compare a difference of means with the spread over seeds."""
    stds = known(mine["std"]), known(base["std"])
    if stds[0] is None or stds[1] is None:
        single = [name for name, std in zip(names, stds, strict=True) if std is None]
        return f" (one seed of {' and of '.join(single)}: how far seeds differ is not known)"
    spread = (stds[0] ** 2 + stds[1] ** 2) ** 0.5
    if abs(difference) <= spread:
        return f", which is within the spread over seeds (± {100 * spread:.1f} points)"
    return ""
