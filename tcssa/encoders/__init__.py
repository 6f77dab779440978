"""Patch encoders by name: uint8 patches in, float32 features out.

No large package is imported here: `load_encoder` imports ONNX Runtime or timm when it is called.
"""

from __future__ import annotations

from tcssa.encoders.base import Encoder, EncoderSpec
from tcssa.encoders.registry import (
    EncoderFacts,
    encoder_names,
    encoder_spec,
    list_encoders,
    load_encoder,
)

__all__ = [
    "Encoder",
    "EncoderFacts",
    "EncoderSpec",
    "encoder_names",
    "encoder_spec",
    "list_encoders",
    "load_encoder",
]
