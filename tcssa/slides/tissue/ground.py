"""The ground that a mask is laid on, the rules by which it is read, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError
from tcssa.slides.image.thumbnail import Thumbnail
from tcssa.slides.tissue.segmenters import by_saturation

Origin = Literal["bounds", "slide"]
Bounds = tuple[int, int, int, int]
"""Left, top, width and height of what was scanned of a slide, in level-0 pixels."""


class MaskError(FileError):
    """A mask cannot be used."""


@dataclass(frozen=True)
class MaskRules:
    """Rules by which masks are read.

    Attributes:
        background: Labels of pictures that are no tissue, in place of 0; see
            `tcssa.files.mask_label.LABEL`.
        classes: Classes of outlines, or labels of pictures, that are tissue; none for all.
        origin: Corner from which masks count, where a slide states its bounds.
    """

    background: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    origin: Literal["auto", "bounds", "slide"] = "auto"


@dataclass(frozen=True)
class Ground:
    """A slide that a mask is laid on.

    Attributes:
        thumbnail: Its picture, whose size the mask gets.
        dimensions: Width and height of level 0.
        bounds: What was scanned of it, None if it does not state that.
    """

    thumbnail: Thumbnail
    dimensions: tuple[int, int]
    bounds: Bounds | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture."""
        height, width = self.thumbnail.unreadable.shape
        return height, width

    @property
    def scale(self) -> float:
        """Level-0 pixels per picture pixel."""
        return self.thumbnail.scale

    @property
    def corner(self) -> tuple[int, int]:
        """Upper left corner (x, y) of what was scanned."""
        return (0, 0) if self.bounds is None else self.bounds[:2]

    def origins(self, wanted: Literal["auto", "bounds", "slide"]) -> list[Origin]:
        """List the corners from which a mask may count."""
        if self.corner == (0, 0):
            return ["slide"]
        return ["bounds", "slide"] if wanted == "auto" else [wanted]

    def scanned(self) -> NDArray[np.bool_]:
        """Return True where something was scanned; glass that was not is wholly white."""
        found = (self.thumbnail.pixels < 255).any(axis=2) | self.thumbnail.unreadable
        if self.bounds is not None:
            left, top, width, height = (round(each / self.scale) for each in self.bounds)
            within = np.zeros_like(found)
            within[max(top, 0) : top + height, max(left, 0) : left + width] = True
            found &= within
        return found

    def tissue(self) -> NDArray[np.bool_]:
        """Return True where there is colour."""
        return by_saturation(self.thumbnail.pixels, 0.0)


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read a mask.

    Attributes:
        inside: True where tissue is, ``[h, w]``.
        origin: Corner that it counts from.
        counted: How much of it is tissue, in words.
        classes: Classes or labels that are tissue; none where the mask has no names for them.
        remarks: What was passed over, or could be read in another way as well.
    """

    inside: NDArray[np.bool_]
    origin: Origin
    counted: str
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask, read.

    Attributes:
        inside: True where tissue is, ``[h, w]``.
        origin: Corner that it counts from.
        classes: See `Reading`.
        remarks: See `Reading`.
    """

    inside: NDArray[np.bool_]
    origin: Origin
    classes: tuple[str, ...]
    remarks: tuple[str, ...]
