"""The training loop and what it needs, the same for every method."""

from debias_pipeline.training.checkpoint import Checkpoint, restore_method
from debias_pipeline.training.device import choose_device
from debias_pipeline.training.loop import Listener, TrainingRun, train
from debias_pipeline.training.progress import Progress

__all__ = [
    "Checkpoint",
    "Listener",
    "Progress",
    "TrainingRun",
    "choose_device",
    "restore_method",
    "train",
]
