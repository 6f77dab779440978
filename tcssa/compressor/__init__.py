"""The TC-SSA compressor: N patch features of a slide to K semantic slots."""

from __future__ import annotations

from tcssa.compressor.checkpoint import load_compressor, read_compressor, save_compressor
from tcssa.compressor.compressor import CompressorOutput, PackedOutput, SlotCompressor
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.state import SlotState

__all__ = [
    "CompressorConfig",
    "CompressorOutput",
    "PackedOutput",
    "SlotCompressor",
    "SlotState",
    "load_compressor",
    "read_compressor",
    "save_compressor",
]
