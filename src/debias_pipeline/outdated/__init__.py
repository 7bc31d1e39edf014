"""Find results on disk that belong to other settings or other data than those of a run."""

from debias_pipeline.outdated.marking import find_outdated, mark_outdated
from debias_pipeline.outdated.trainings import check_raw_data, check_trained_on, remedy

__all__ = [
    "check_raw_data",
    "check_trained_on",
    "find_outdated",
    "mark_outdated",
    "remedy",
]
