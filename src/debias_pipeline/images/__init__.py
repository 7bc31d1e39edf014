"""The images of a biased data set, as training and evaluation read them."""

from debias_pipeline.images.image_data import ImageData, Split, conflict_codes
from debias_pipeline.images.memory import available_memory

__all__ = ["ImageData", "Split", "available_memory", "conflict_codes"]
