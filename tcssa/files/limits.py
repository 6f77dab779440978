"""Limits on what a file may claim, checked before memory is taken for it.

Each can be raised by an environment variable of its name, and the error says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import FileError, UsageError


@dataclass(frozen=True)
class Limit:
    """The largest value that a file may claim.

    Attributes:
        variable: The environment variable that replaces the default.
        default: The limit.
        unit: What is counted, as the error calls it.
    """

    variable: str
    default: int
    unit: str

    def value(self, *, earned: int = 0) -> int:
        """Return the limit in force.

        Args:
            earned: A limit that replaces the default where it is larger: a large file may claim
                more than a small one. The variable, if it is set, replaces both.

        Raises:
            UsageError: The environment variable is set to something else than a positive whole
                number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return max(self.default, earned)
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text)):
            raise UsageError(f"{self.variable} must be a positive whole number, found {text!r}")
        return int(text)

    def require(self, found: int, path: Path, error: type[FileError], *, earned: int = 0) -> None:
        """Require that a file claims no more than the limit.

        Args:
            found: The claim.
            path: The file, named in errors.
            error: Type of the error to raise.
            earned: See `value`.

        Raises:
            FileError: Of the type ``error``; the file claims more than the limit.
        """
        most = self.value(earned=earned)
        if found > most:
            raise error(
                path,
                f"claims {found:,} {self.unit}, and at most {most:,} are read",
                hint=f"if the file is sound, set {self.variable}={found} and try again",
            )


JSON_DEPTH = Limit("TCSSA_MAX_JSON_DEPTH", 64, "levels of nesting")
PACKED_BYTES = Limit("TCSSA_MAX_PACKED_BYTES", 2**28, "bytes in a packed block of rows")
PICKLED_BYTES = Limit("TCSSA_MAX_PICKLED_BYTES", 2**26, "bytes in arrays that share their numbers")
PICKLED_VALUES = Limit("TCSSA_MAX_PICKLED_VALUES", 5_000_000, "values, shared ones written out")
SETTINGS_BYTES = Limit("TCSSA_MAX_SETTINGS_BYTES", 2**18, "bytes of settings")
SETTINGS_VALUES = Limit("TCSSA_MAX_SETTINGS_VALUES", 20_000, "values, aliases written out")
UNPACKED_BYTES = Limit("TCSSA_MAX_UNPACKED_BYTES", 2**24, "bytes of text, unpacked")
TILE_SIDE = Limit("TCSSA_MAX_TILE_SIDE", 16_384, "pixels along a tile's side")
"""OpenSlide aborts the process where memory for a tile is not to be had; 1 GiB at this side."""
WORKBOOK_BYTES = Limit("TCSSA_MAX_WORKBOOK_BYTES", 2**28, "bytes in a workbook, unpacked")
ZARR_CHUNK_BYTES = Limit("TCSSA_MAX_ZARR_CHUNK_BYTES", 2**30, "bytes in a chunk, 8 a number")
TILE_BYTES = Limit("TCSSA_MAX_TILE_BYTES", 2**28, "bytes of one tile")
PICTURE_PIXELS = Limit("TCSSA_MAX_PICTURE_PIXELS", 2**26, "pixels of a picture that is held whole")
SLIDE_SIDE = Limit("TCSSA_MAX_SLIDE_SIDE", 2**22, "pixels along a slide's side")
SLIDE_PIXELS = Limit("TCSSA_MAX_SLIDE_PIXELS", 2**38, "pixels of a slide")
OVERVIEW_PIXELS = Limit(
    "TCSSA_MAX_OVERVIEW_PIXELS", 2**29, "pixels of the level that the slide's picture is made of"
)
OUTLINE_PIXELS = Limit(
    "TCSSA_MAX_OUTLINE_PIXELS", 2**31, "pixels that its outlines cover, each by itself"
)
