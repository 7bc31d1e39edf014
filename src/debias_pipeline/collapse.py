"""Decide which seeds have collapsed: training left them with few features that still work."""

from collections.abc import Sequence
from statistics import median
from typing import Final

# A seed whose share of dead feature units is at least this has collapsed.
MOST_DEAD: Final = 0.9
# So has a seed that is this far below the median of the seeds, with more dead units than theirs.
FAR_BELOW: Final = 0.1
# Fewer seeds have no median that one of them could be far below.
MIN_SEEDS: Final = 3


def collapsed_seeds(
    seeds: Sequence[int], accuracies: Sequence[float | None], dead_units: Sequence[float]
) -> list[int]:
    """Return the seeds that have collapsed; docs/benchmark.md explains the rule.

    Args:
        seeds: seeds of a trial.
        accuracies: the headline metric of each seed; None where it has no value.
        dead_units: share of each seed's feature units that are zero for every validation image.
    """
    known = [each for each in accuracies if each is not None]
    typical = median(known) if len(known) >= MIN_SEEDS else None
    typical_dead = median(dead_units)

    def has_collapsed(accuracy: float | None, dead: float) -> bool:
        if dead >= MOST_DEAD:
            return True
        if accuracy is None or typical is None:
            return False
        return typical - accuracy >= FAR_BELOW and dead > typical_dead

    rows = zip(seeds, accuracies, dead_units, strict=True)
    return [seed for seed, accuracy, dead in rows if has_collapsed(accuracy, dead)]
