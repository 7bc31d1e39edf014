"""Use a trained network: predict labels of new images, export it, serve it."""

from debias_pipeline.use.bias_labels import read_bias_labels
from debias_pipeline.use.classifier import Classifier, find_checkpoint, load_classifier
from debias_pipeline.use.export import FORMATS, Format, export
from debias_pipeline.use.listing import list_images

__all__ = [
    "FORMATS",
    "Classifier",
    "Format",
    "export",
    "find_checkpoint",
    "list_images",
    "load_classifier",
    "read_bias_labels",
]
