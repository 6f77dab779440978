"""tcssa: whole-slide images to semantic slots.

The names below are the library's front door. They load torch only when they are touched, so
that ``import tcssa`` and ``tcssa --help`` stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tcssa.version import __version__

if TYPE_CHECKING:
    from tcssa.compressor import (
        BagsOutput,
        CompressorConfig,
        CompressorOutput,
        SlotCompressor,
        SlotState,
        load_compressor,
    )
    from tcssa.features import open_bag
    from tcssa.front_door import extract, heatmap, train
    from tcssa.mil.prediction.trained_classifier import load_classifier

_HOMES = {
    "BagsOutput": "tcssa.compressor",
    "CompressorConfig": "tcssa.compressor",
    "CompressorOutput": "tcssa.compressor",
    "SlotCompressor": "tcssa.compressor",
    "SlotState": "tcssa.compressor",
    "extract": "tcssa.front_door",
    "heatmap": "tcssa.front_door",
    "load_classifier": "tcssa.mil.prediction.trained_classifier",
    "load_compressor": "tcssa.compressor",
    "open_archive": "tcssa_runtimes.archive.open_archive",  # by name: nothing here imports it
    "open_bag": "tcssa.features",
    "train": "tcssa.front_door",
}

__all__ = [
    "BagsOutput",
    "CompressorConfig",
    "CompressorOutput",
    "SlotCompressor",
    "SlotState",
    "__version__",
    "extract",
    "heatmap",
    "load_classifier",
    "load_compressor",
    "open_archive",
    "open_bag",
    "train",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tcssa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
