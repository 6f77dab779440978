"""The TC-SSA compressor: N patch features of a slide to K semantic slots."""

from __future__ import annotations

from tcssa.compressor.checkpoint import (
    LoadedCompressor,
    load_compressor,
    open_checkpoint,
    save_compressor,
)
from tcssa.compressor.compressor import CompressorOutput, PackedOutput, SlotCompressor
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.state import SlotState

__all__ = [
    "CompressorConfig",
    "CompressorOutput",
    "LoadedCompressor",
    "PackedOutput",
    "SlotCompressor",
    "SlotState",
    "load_compressor",
    "open_checkpoint",
    "save_compressor",
]
