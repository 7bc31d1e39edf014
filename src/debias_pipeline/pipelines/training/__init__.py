"""The training pipeline: train a method for all seeds."""

from debias_pipeline.pipelines.training.nodes import TrainingSettings, run_training
from debias_pipeline.pipelines.training.pipeline import create_pipeline

__all__ = ["TrainingSettings", "create_pipeline", "run_training"]
