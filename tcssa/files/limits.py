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

    def value(self) -> int:
        """Return the limit in force.

        Raises:
            UsageError: The environment variable is set and no positive whole number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text)):
            raise UsageError(f"{self.variable} must be a positive whole number, found {text!r}")
        return int(text)

    def require(self, found: int, path: Path, error: type[FileError]) -> None:
        """Require that a file claims no more than the limit.

        Raises:
            FileError: Of the type ``error``; it claims more.
        """
        most = self.value()
        if found > most:
            raise error(
                path,
                f"claims {found:,} {self.unit}, and at most {most:,} are read",
                hint=f"if the file is sound, set {self.variable}={found} and try again",
            )


JSON_DEPTH = Limit("TCSSA_MAX_JSON_DEPTH", 64, "levels of nesting")
SETTINGS_BYTES = Limit("TCSSA_MAX_SETTINGS_BYTES", 2**18, "bytes of settings")
SETTINGS_VALUES = Limit("TCSSA_MAX_SETTINGS_VALUES", 20_000, "values, aliases written out")
TILE_SIDE = Limit("TCSSA_MAX_TILE_SIDE", 16_384, "pixels along a tile's side")
"""OpenSlide aborts the process where memory for a tile is not to be had; 1 GiB at this side."""
