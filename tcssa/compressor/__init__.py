"""The TC-SSA compressor: N patch features of a slide to K semantic slots."""

from __future__ import annotations

from tcssa.compressor.checkpoint import (
    LoadedCompressor,
    compressor_from_reference,
    load_compressor,
    open_checkpoint,
    save_compressor,
)
from tcssa.compressor.compressor import SlotCompressor
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.outputs import BagsOutput, CompressorOutput
from tcssa.compressor.state import SlotState

__all__ = [
    "BagsOutput",
    "CompressorConfig",
    "CompressorOutput",
    "LoadedCompressor",
    "SlotCompressor",
    "SlotState",
    "compressor_from_reference",
    "load_compressor",
    "open_checkpoint",
    "save_compressor",
]
