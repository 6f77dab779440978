"""OME-XML, the description of the images in an OME-TIFF."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from tcssa.files.boundary import UnsoundError
from tcssa.files.limits import UNPACKED_BYTES

_UM_OF_UNIT = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "nm": 1e-3,
    "\u00e5": 1e-4, "\u212b": 1e-4, "pm": 1e-6,
}  # fmt: skip
_ENTITIES = re.compile(r"<!(doctype|entity)", re.IGNORECASE)
_MAX_PLANES = 1_000_000


@dataclass(frozen=True)
class Plane:
    """One plane of an image: focal plane, time, and channel, counted from 0."""

    z: int
    t: int
    c: int


@dataclass(frozen=True)
class Channel:
    """A channel: its name, colour (32 bits, RGBA) and number of samples."""

    name: str
    colour: int | None
    samples: int


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-TIFF.

    Attributes:
        name: Its name, which may be empty.
        mpp: µm per pixel along x and y, None if they are not stated.
        channels: Its channels.
        pages: Index of the TIFF's page that holds each plane; planes of other files are not here.
        other_files: Names of other files that hold planes.
    """

    name: str
    mpp: tuple[float, float] | None
    channels: tuple[Channel, ...]
    pages: dict[Plane, int]
    other_files: tuple[str, ...]


def is_ome_xml(description: str) -> bool:
    """Tell whether a TIFF's description is OME-XML."""
    return "<OME" in description[:4096] or "<ome:OME" in description[:4096]


def read_ome(description: str) -> list[OmeImage]:
    """Read the images that OME-XML describes.

    Args:
        description: The XML, as it stands in the first page of a TIFF.

    Raises:
        UnsoundError: It is no OME-XML, too long, or defines entities.
    """
    if len(description) > UNPACKED_BYTES.value() or _ENTITIES.search(description):
        raise UnsoundError("has OME-XML that is too long or defines entities")
    try:
        root = ET.fromstring(description)
        images = [element for element in root if _tag(element) == "Image"]
        found = [_image(image, root.get("UUID")) for image in images]
    except (ET.ParseError, ValueError, KeyError, StopIteration) as fault:
        raise UnsoundError(f"has OME-XML that makes no sense ({fault})") from None
    if not found:
        raise UnsoundError("has OME-XML that names no image")
    return found


def _image(image: ET.Element, own_uuid: str | None) -> OmeImage:
    pixels = next(child for child in image if _tag(child) == "Pixels")
    channels = tuple(_channels(pixels))
    order = pixels.get("DimensionOrder", "XYCZT")[2:].lower()
    sizes = {axis: int(pixels.get(f"Size{axis.upper()}", "1")) for axis in "zt"}
    sizes["c"] = len(channels)  # channels of several samples share a page
    if not 0 < math.prod(sizes.values()) <= _MAX_PLANES:
        raise ValueError(f"{math.prod(sizes.values())} planes")
    planes = list(_planes(order, sizes))
    pages: dict[Plane, int] = {}
    others: set[str] = set()
    data = [child for child in pixels if _tag(child) == "TiffData"]
    for block in data:
        uuid = next((child for child in block if _tag(child) == "UUID"), None)
        if own_uuid is not None and uuid is not None and (uuid.text or "").strip() != own_uuid:
            others.add(uuid.get("FileName", "another file"))
            continue
        first = Plane(*(int(block.get(f"First{axis}", "0")) for axis in "ZTC"))
        begin = planes.index(first)
        page = int(block.get("IFD", "0"))
        usual = "1" if block.get("IFD") else str(len(planes) - begin)
        for offset in range(min(int(block.get("PlaneCount", usual)), len(planes) - begin)):
            pages.setdefault(planes[begin + offset], page + offset)
    if not data:
        pages = {plane: index for index, plane in enumerate(planes)}
    return OmeImage(image.get("Name", ""), _mpp(pixels), channels, pages, tuple(sorted(others)))


def _channels(pixels: ET.Element) -> Iterator[Channel]:
    found = [child for child in pixels if _tag(child) == "Channel"]
    size = int(pixels.get("SizeC", "1"))
    if sum(int(channel.get("SamplesPerPixel", "1")) for channel in found) != size:
        yield from [Channel("", None, 1)] * min(size, _MAX_PLANES)
        return
    for channel in found:
        colour = channel.get("Color")
        yield Channel(
            channel.get("Name", ""),
            None if colour is None else int(colour) & 0xFFFF_FFFF,
            int(channel.get("SamplesPerPixel", "1")),
        )


def _planes(order: str, sizes: dict[str, int]) -> Iterator[Plane]:
    """Yield the planes in the order in which their pages stand: the first axis runs fastest."""
    if sorted(order) != ["c", "t", "z"]:
        raise ValueError(f"an order of {order}")
    fast, middle, slow = tuple(order)
    for k in range(sizes[slow]):
        for j in range(sizes[middle]):
            for i in range(sizes[fast]):
                at = {fast: i, middle: j, slow: k}
                yield Plane(at["z"], at["t"], at["c"])


def _mpp(pixels: ET.Element) -> tuple[float, float] | None:
    found = []
    for axis in "XY":
        value = float(pixels.get(f"PhysicalSize{axis}", "nan"))
        factor = _UM_OF_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").lower())
        if factor is None or not (math.isfinite(value) and value > 0):
            return None
        found.append(value * factor)
    return found[0], found[1]


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
