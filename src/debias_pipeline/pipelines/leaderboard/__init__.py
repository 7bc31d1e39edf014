"""The leaderboard pipeline: what the grid's cells left, side by side."""

from debias_pipeline.pipelines.leaderboard.pipeline import create_pipeline

__all__ = ["create_pipeline"]
