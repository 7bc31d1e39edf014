"""The training loop and its parts, the same for every method."""

from debias_pipeline.training.checkpoint import (
    Checkpoint,
    check_data,
    data_difference,
    data_identity,
    restore_method,
)
from debias_pipeline.training.device import choose_device
from debias_pipeline.training.leaving_out import leave_out
from debias_pipeline.training.loop import Listener, TrainingRun, train
from debias_pipeline.training.progress import Progress, training_name, training_named
from debias_pipeline.training.published_checkpoint import (
    check_published,
    read_published,
    write_published,
)
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.snapshot import Snapshots, SnapshotStore, fingerprint_digest
from debias_pipeline.training.threads import RequestedThreads, TrainingThreads, limited_threads
from debias_pipeline.training.timing import seconds_per_step
from debias_pipeline.training.window import empty_sample_weights

__all__ = [
    "Checkpoint",
    "Listener",
    "Progress",
    "RequestedThreads",
    "SnapshotStore",
    "Snapshots",
    "TrainingRun",
    "TrainingServices",
    "TrainingThreads",
    "check_data",
    "check_published",
    "choose_device",
    "data_difference",
    "data_identity",
    "empty_sample_weights",
    "fingerprint_digest",
    "leave_out",
    "limited_threads",
    "read_published",
    "restore_method",
    "seconds_per_step",
    "train",
    "training_name",
    "training_named",
    "write_published",
]
