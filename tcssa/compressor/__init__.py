"""The TC-SSA compressor: N patch features of a slide to K semantic slots."""

from __future__ import annotations

from tcssa.compressor.checkpoint import (
    LoadedCompressor,
    load_compressor,
    open_checkpoint,
    save_compressor,
)
from tcssa.compressor.compressor import BagsOutput, CompressorOutput, SlotCompressor
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.state import SlotState

__all__ = [
    "BagsOutput",
    "CompressorConfig",
    "CompressorOutput",
    "LoadedCompressor",
    "SlotCompressor",
    "SlotState",
    "load_compressor",
    "open_checkpoint",
    "save_compressor",
]
