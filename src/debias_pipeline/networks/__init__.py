"""Encoders and heads whose parameters carry a leading replica axis, one replica per seed."""

from debias_pipeline.networks.encoder import Encoder, build_encoder, encoder_names
from debias_pipeline.networks.stacked import StackedLinear

__all__ = ["Encoder", "StackedLinear", "build_encoder", "encoder_names"]
