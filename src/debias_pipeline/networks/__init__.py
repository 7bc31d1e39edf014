"""Encoders and heads whose parameters carry a leading replica axis, one replica per seed."""

from debias_pipeline.networks.encoder import (
    Encoder,
    ImageNetwork,
    as_floats,
    check_same_tensors,
    image_networks,
    observed,
)
from debias_pipeline.networks.registry import (
    TORCHVISION_NETWORKS,
    build_encoder,
    check_weights,
    encoder_names,
    smallest_image,
    weights_hash,
)
from debias_pipeline.networks.stacked import StackedLinear

__all__ = [
    "TORCHVISION_NETWORKS",
    "Encoder",
    "ImageNetwork",
    "StackedLinear",
    "as_floats",
    "build_encoder",
    "check_same_tensors",
    "check_weights",
    "encoder_names",
    "image_networks",
    "observed",
    "smallest_image",
    "weights_hash",
]
