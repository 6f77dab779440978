"""tcssa: whole-slide images to semantic slots.

The names below are the library's front door. They load torch only when they are touched, so
that ``import tcssa`` and ``tcssa --help`` stay quick.
"""

from __future__ import annotations

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

__all__ = [
    "BagsOutput",
    "CompressorConfig",
    "CompressorOutput",
    "SlotCompressor",
    "SlotState",
    "__version__",
    "load_compressor",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from tcssa import compressor

        return getattr(compressor, name)
    raise AttributeError(f"module 'tcssa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
