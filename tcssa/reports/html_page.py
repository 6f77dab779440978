"""A report as one HTML file that holds its own pictures and loads nothing else.

A page is a Jinja2 template beside the module that writes it. It extends ``reports/page.html``;
tables and pictures are macros of ``reports/parts.html``. Values are escaped, and a name that the
template misspells is an error.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tcssa.errors import counted
from tcssa.files import atomic
from tcssa.version import __version__

_PACKAGE = Path(__file__).parents[1]
_NUMBER = re.compile(r"(?:[+−-]?\d.*|not defined|–|)")
_SHARPNESS = 4 / 3
"""Pixels of a drawn plot per pixel of the page: sharp on fine screens, and not too large."""
_PHOTO_BYTES = 400_000
"""A larger PNG shows tissue, and goes into a page as JPEG, at a fifth of its size."""
_WIDE = 640
"""Plots wider than this many pixels are scrolled on a narrow screen, and not shrunk."""


@dataclass(frozen=True)
class Picture:
    """A picture as it stands in a page; only drawn plots have a size."""

    source: str
    width: int | None = None
    height: int | None = None

    @property
    def frame(self) -> str:
        """Class of its frame."""
        return "wide" if (self.width or 0) > _WIDE else "plot"


def write_page(path: Path, template: Path, **values: object) -> None:
    """Write a page, atomically.

    Args:
        path: The HTML file to write.
        template: The template of the page.
        values: Values that the template names.
    """
    environment = _environment(template.parent)
    content = environment.get_template(template.name).render(values, version=__version__)
    atomic.write_text(path, content)


@cache
def _environment(folder: Path) -> Environment:
    """Return what reads the templates of a folder; compiling one takes longer than a page."""
    environment = Environment(
        loader=FileSystemLoader([folder, _PACKAGE]),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"columns": _columns, "picture": _picture, "number": number, "interval": interval}
    environment.filters.update(filters, counted=counted)
    return environment


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Format a figure, as in ``0.912``; one that does not exist is ``not defined``.

    Args:
        value: The figure; None if it is not defined.
        digits: Decimal places.
        signed: Show a plus too.
    """
    if value is None:
        return "not defined"
    # a true minus, in the typeface of the page
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(
    score: Mapping[str, Any], absent: str = "", *, between: str = " – ", signed: bool = False
) -> str:
    """Format the interval of a score, as in ``0.871 – 0.944``.

    Args:
        score: A figure with its ``low`` and ``high``.
        absent: The text where there is no interval.
        between: The text between its ends.
        signed: Show a plus too.
    """
    if score["low"] is None or score["high"] is None:
        return absent
    return between.join(number(score[end], signed=signed) for end in ("low", "high"))


def _columns(rows: Sequence[Sequence[str]], header: Sequence[str]) -> list[str]:
    """Return the kind of each column: number or text."""
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"a row has not the {len(header)} cells of its header {header}")
    return [
        "number" if rows and all(_NUMBER.fullmatch(row[i]) for row in rows) else "text"
        for i in range(len(header))
    ]


def _picture(path: Path) -> Picture:
    content = path.read_bytes()
    if path.suffix != ".png":
        return Picture(_embedded("jpeg", content))
    pixels = struct.unpack_from(">II", content, offset=16)  # IHDR, the first chunk
    width, height = (round(side / _SHARPNESS) for side in pixels)
    if len(content) > _PHOTO_BYTES:
        return Picture(_embedded("jpeg", _as_jpeg(content)), width, height)
    return Picture(_embedded("png", content), width, height)


def _embedded(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _as_jpeg(png: bytes) -> bytes:
    import cv2
    import numpy as np

    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
