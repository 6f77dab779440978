"""The pictures in a TIFF: which pages are slides, which are their levels, channels or planes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tcssa.files.boundary import UnsoundError
from tcssa.files.limits import PICTURE_PIXELS
from tcssa.files.ome import Channel, OmeImage, Plane, is_ome_xml, read_ome
from tcssa.files.picture import held_pixels
from tcssa.files.tiff_pages import TiffPage, read_pages
from tcssa.slides.readers.scenes import Scene

_NO_SLIDE = re.compile(r"\b(label|macro|thumbnail|overview)\b", re.IGNORECASE)
_NAME_CHARACTERS = 200
_COLOURS = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}
_PURE = {0xFF0000: 0, 0x00FF00: 1, 0x0000FF: 2}
_NO_NAME = re.compile(r"(channel|c)?[\s:_]*[\d:]*", re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """One picture of a TIFF.

    Attributes:
        scene: Its name and size.
        levels: The pages of each level: one, or those of red, green and blue.
        mpp: µm per pixel of level 0 along x and y, None if they are not stated.
        fault: Why it is no slide that can be read, None if it is one.
    """

    scene: Scene
    levels: tuple[tuple[TiffPage, ...], ...]
    mpp: tuple[float, float] | None
    fault: str | None = None


@lru_cache(maxsize=1000)
def pages_of(path: Path, _mtime_ns: int, _size: int) -> tuple[TiffPage, ...]:
    """Read the pages of a TIFF, once per process."""
    return tuple(read_pages(path))


def is_misread(pages: Sequence[TiffPage], num_bytes: int) -> bool:
    """Tell whether other readers take a TIFF for something that it is not, or cannot hold it.

    OpenSlide takes every tiled page for a level of one pyramid, and the first page for the one that
    states the resolution; Pillow takes the first page for the picture, and holds it whole.

    Args:
        pages: All pages.
        num_bytes: Size of the file.
    """
    largest = max(pages, key=lambda page: page.num_pixels)
    if is_ome_xml(pages[0].description):
        return len(pages) > 1 or bool(largest.inner) or largest.why_unread() is None
    if pages[0] is not largest or sum(page.size == largest.size for page in pages) > 1:
        return True
    if largest.is_tiled:
        return any(page.is_tiled and not shows_the_same(page, largest) for page in pages)
    return largest.num_pixels > PICTURE_PIXELS.value(earned=held_pixels(num_bytes))


def pictures(pages: Sequence[TiffPage]) -> list[Picture]:
    """List the pictures of a TIFF.

    Raises:
        UnsoundError: Its OME-XML makes no sense, or names pages that are not there.
    """
    if is_ome_xml(pages[0].description):
        images = read_ome(pages[0].description)
        return [picture for image in images for picture in _pictures_of(image, pages)]
    return list(_pictures_without_ome(pages))


def shows_the_same(page: TiffPage, first: TiffPage) -> bool:
    """Tell whether a page can be a smaller copy of another, by its shape and its description."""
    if _NO_SLIDE.search(page.description[:_NAME_CHARACTERS]) or page.samples != first.samples:
        return False
    scale = (first.size[0] / page.size[0] + first.size[1] / page.size[1]) / 2
    return all(
        abs(own * scale - size) <= max(2 * scale, 0.02 * size)
        for own, size in zip(page.size, first.size, strict=True)
    )


def _pictures_without_ome(pages: Sequence[TiffPage]) -> Iterator[Picture]:
    largest = max(pages, key=lambda page: page.num_pixels)
    equals = [page for page in pages if page.size == largest.size]
    colour = [page for page in equals if page.is_colour]
    main = (colour or equals)[0]
    smaller = [page for page in pages if page.num_pixels < largest.num_pixels]
    levels = [page for page in smaller if len(colour or equals) == 1 and shows_the_same(page, main)]
    fault = None
    if len(equals) > 1 and not colour:
        fault = f"holds {len(equals)} grey pages of one size, channels or planes, and no colours"
    for number, page in enumerate(pages):
        if page in levels:
            continue
        below = levels if page is main else []
        name = " ".join(page.description.split())[:30] or f"page {number}"
        own = fault if page in equals else None
        yield Picture(_scene(name, page), _pyramid((page,), below), page.mpp, own)


def _pictures_of(image: OmeImage, pages: Sequence[TiffPage]) -> Iterator[Picture]:
    """Yield the pictures of one image: one of each plane, and of each channel in colour."""
    planes = sorted({(plane.t, plane.z) for plane in image.pages})
    if not planes:
        raise UnsoundError(f"has its planes in other files ({', '.join(image.other_files)})")
    for t, z in planes:
        where = f"z = {z}, t = {t}" if len(planes) > 1 else ""
        found: dict[int, TiffPage] = {}
        for channel in range(len(image.channels)):
            number = image.pages.get(Plane(z, t, channel))
            if number is None or number >= len(pages):
                raise UnsoundError(f"lacks the page of channel {channel}, z = {z}, t = {t}")
            found[channel] = pages[number]
        yield from _of_channels(image, found, where)


def _of_channels(image: OmeImage, found: dict[int, TiffPage], where: str) -> Iterator[Picture]:
    first, order = found[0], _rgb_order(image.channels)
    if first.is_colour or len(found) == 1:
        for channel, page in found.items():
            named = image.channels[channel].name if len(found) > 1 else ""
            name = ", ".join(part for part in (image.name, named, where) if part)
            yield Picture(_scene(name, page), _pyramid((page,), ()), image.mpp or page.mpp)
        return
    name = ", ".join(part for part in (image.name, where) if part)
    names = ", ".join(channel.name or "unnamed" for channel in image.channels[:6])
    fault = f"holds {len(found)} grey channels ({names}) that are not red, green and blue"
    chosen = tuple(found.values()) if order is None else tuple(found[channel] for channel in order)
    levels = _pyramid(chosen[:3], ())
    mpp = image.mpp or first.mpp
    yield Picture(_scene(name, first), levels, mpp, fault if order is None else None)


def _rgb_order(channels: Sequence[Channel]) -> tuple[int, ...] | None:
    """Return the channels of red, green and blue, by names or else colours; None if unknown."""
    places = [_COLOURS.get(channel.name.strip().lower()) for channel in channels]
    if all(_NO_NAME.fullmatch(channel.name.strip()) for channel in channels):
        places = [
            None if channel.colour is None else _PURE.get(channel.colour >> 8)
            for channel in channels
        ]
    if set(places) != {0, 1, 2} or len(places) != 3:
        return None
    return tuple(places.index(colour) for colour in range(3))


def _pyramid(
    first: tuple[TiffPage, ...], below: Sequence[TiffPage]
) -> tuple[tuple[TiffPage, ...], ...]:
    """Return the levels of a picture: its pages, and their smaller copies within or beside them."""
    inner = zip(*(page.inner for page in first), strict=False)
    levels = [first, *inner, *((page,) for page in below)]
    fitting = [level for level in levels if shows_the_same(level[0], first[0])]
    return tuple(sorted(fitting, key=lambda level: -level[0].num_pixels))


def _scene(name: str, page: TiffPage) -> Scene:
    return Scene(name, *page.size)
