"""The ingestion pipeline: build a data set from raw data."""

from debias_pipeline.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
