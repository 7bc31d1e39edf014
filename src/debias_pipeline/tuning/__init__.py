"""Search for hyper-parameters, fairly: the same number of trials for every method.

A trial is one training with values from the ranges of the recipe files, scored on the validation
split. The test split is never read.
"""

from debias_pipeline.tuning.parameters import (
    REFERENCE,
    TUNE,
    TuneParameters,
    check_searches,
    check_tune_typed,
    resolve_tune,
)
from debias_pipeline.tuning.scoring import known_groups, pseudo_groups, without_test
from debias_pipeline.tuning.search import Search, stored_groups
from debias_pipeline.tuning.tuner import Tuner

__all__ = [
    "REFERENCE",
    "TUNE",
    "Search",
    "TuneParameters",
    "Tuner",
    "check_searches",
    "check_tune_typed",
    "known_groups",
    "pseudo_groups",
    "resolve_tune",
    "stored_groups",
    "without_test",
]
