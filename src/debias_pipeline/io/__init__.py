"""The project's own Kedro dataset types. Whatever they save appears whole or not at all."""

from debias_pipeline.io.atomic import (
    AtomicJSONDataset,
    AtomicParquetDataset,
    AtomicTextDataset,
    SpreadsheetDataset,
)
from debias_pipeline.io.figures_dataset import FiguresDataset
from debias_pipeline.io.holes import HoleableDataset, OutcomeDataset, ProblemDataset
from debias_pipeline.io.image_array_dataset import ImageArrayDataset
from debias_pipeline.io.remade import RemadeJSONDataset
from debias_pipeline.io.safetensors_dataset import SafetensorsDataset
from debias_pipeline.io.snapshots import SnapshotsDataset
from debias_pipeline.io.storage import local_file, location, unwritable_folder, versions_of

__all__ = [
    "AtomicJSONDataset",
    "AtomicParquetDataset",
    "AtomicTextDataset",
    "FiguresDataset",
    "HoleableDataset",
    "ImageArrayDataset",
    "OutcomeDataset",
    "ProblemDataset",
    "RemadeJSONDataset",
    "SafetensorsDataset",
    "SnapshotsDataset",
    "SpreadsheetDataset",
    "local_file",
    "location",
    "unwritable_folder",
    "versions_of",
]
