"""Whole-slide images: from slide files to bags of patch features.

OpenSlide, OpenCV and the encoders are imported only when a name is first used, so that the command
line gets its defaults from `ExtractSettings` quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcssa.slides.extraction.extract_options import ExtractOptions
    from tcssa.slides.extraction.extraction import extract
    from tcssa.slides.extraction.report import ExtractReport, SlideResult
    from tcssa.slides.image.slide import Slide
    from tcssa.slides.manifest import SlideFile, find_slides
    from tcssa.slides.settings import ExtractSettings

_HOMES = {
    "ExtractOptions": "tcssa.slides.extraction.extract_options",
    "ExtractReport": "tcssa.slides.extraction.report",
    "ExtractSettings": "tcssa.slides.settings",
    "Slide": "tcssa.slides.image.slide",
    "SlideFile": "tcssa.slides.manifest",
    "SlideResult": "tcssa.slides.extraction.report",
    "extract": "tcssa.slides.extraction.extraction",
    "find_slides": "tcssa.slides.manifest",
}

__all__ = [
    "ExtractOptions",
    "ExtractReport",
    "ExtractSettings",
    "Slide",
    "SlideFile",
    "SlideResult",
    "extract",
    "find_slides",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tcssa.slides' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
