"""The project's own Kedro dataset types. Whatever they save appears whole or not at all."""

from debias_pipeline.io.atomic import AtomicJSONDataset, AtomicParquetDataset, AtomicTextDataset
from debias_pipeline.io.image_array_dataset import ImageArrayDataset
from debias_pipeline.io.safetensors_dataset import SafetensorsDataset

__all__ = [
    "AtomicJSONDataset",
    "AtomicParquetDataset",
    "AtomicTextDataset",
    "ImageArrayDataset",
    "SafetensorsDataset",
]
