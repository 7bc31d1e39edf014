"""The training pipeline, which is the same for every method."""

from debias_pipeline.pipelines.training.nodes import Trained, TrainingSettings, run_training
from debias_pipeline.pipelines.training.pipeline import create_pipeline

__all__ = ["Trained", "TrainingSettings", "create_pipeline", "run_training"]
