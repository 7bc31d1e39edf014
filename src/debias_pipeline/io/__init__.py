"""Kedro dataset classes of this project, which save atomically."""

from debias_pipeline.io.atomic import (
    AtomicJSONDataset,
    AtomicParquetDataset,
    AtomicTextDataset,
    HistoryDataset,
    MetricsDataset,
    SpreadsheetDataset,
)
from debias_pipeline.io.bad_files_dataset import BadFilesDataset
from debias_pipeline.io.image_array_dataset import ImageArrayDataset
from debias_pipeline.io.safetensors_dataset import SafetensorsDataset
from debias_pipeline.io.snapshots import SnapshotsDataset
from debias_pipeline.io.storage import (
    LOCAL,
    appearing,
    local_file,
    location,
    unwritable_folder,
    versions_of,
)
from debias_pipeline.io.study_dataset import StudyDataset
from debias_pipeline.io.text_files_dataset import FiguresDataset, TablesDataset, TextFilesDataset

__all__ = [
    "LOCAL",
    "AtomicJSONDataset",
    "AtomicParquetDataset",
    "AtomicTextDataset",
    "BadFilesDataset",
    "FiguresDataset",
    "HistoryDataset",
    "ImageArrayDataset",
    "MetricsDataset",
    "SafetensorsDataset",
    "SnapshotsDataset",
    "SpreadsheetDataset",
    "StudyDataset",
    "TablesDataset",
    "TextFilesDataset",
    "appearing",
    "local_file",
    "location",
    "unwritable_folder",
    "versions_of",
]
