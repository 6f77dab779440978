"""Heads of DICOM files: what kind of object each is and to which series it belongs.

Only elements in front of the pixels are looked at, within the first bytes of a file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".dcm"
MAGIC, MAGIC_AT = b"DICM", 128
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""Class of whole-slide microscopy images; there are some hundred other classes."""
_HEAD_BYTES = 2**18
_IMPLICIT = "1.2.840.10008.1.2"
"""Transfer syntax in which elements do not state their types."""
_SYNTAX, _CLASS, _IMAGE_TYPE, _SERIES = 0x0002_0010, 0x0008_0016, 0x0008_0008, 0x0020_000E
_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
_LONG_TYPES = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT",
               b"UV")  # fmt: skip
_OPEN_END = 0xFFFF_FFFF


@dataclass(frozen=True)
class DicomHead:
    """Class, series and type of one DICOM object, empty where it does not state them."""

    sop_class: str
    series: str
    image_type: tuple[str, ...]

    @property
    def is_slide(self) -> bool:
        """True for a whole-slide image, and not the picture of its label or of the whole glass."""
        return self.sop_class == WHOLE_SLIDE and not {"LABEL", "OVERVIEW"} & {*self.image_type}


def dicom_head(path: Path) -> DicomHead | None:
    """Read the head of a DICOM file.

    Returns:
        The head; None if the file is no DICOM file.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        content = stream.read(_HEAD_BYTES)
    if content[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        return None
    found: dict[int, str] = {}
    try:
        for tag, value in _elements(content, MAGIC_AT + len(MAGIC)):
            if tag in (_CLASS, _IMAGE_TYPE, _SERIES):
                found[tag] = _text(value)
            if tag >= _SERIES:
                break
    except struct.error:  # it is cut short: what was read counts
        pass
    image_type = tuple(found.get(_IMAGE_TYPE, "").split("\\"))
    return DicomHead(found.get(_CLASS, ""), found.get(_SERIES, ""), image_type)


def dicom_series(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Group the whole-slide images among files by their series, in the order of the files.

    A file called ``.dcm`` that may not be read, or that states no series, stands by itself.
    """
    series: dict[str, list[Path]] = {}
    for file in files:
        try:
            head = dicom_head(file) if file.is_file() else None
        except OSError:
            if file.suffix.lower() == SUFFIX:
                series[str(file)] = [file]
            continue
        if head is not None and head.is_slide:
            series.setdefault(head.series or str(file), []).append(file)
    return series


def _elements(content: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield tag and value of the elements that lie in no sequence, in the order of their tags."""
    depth, implicit = 0, False
    while True:
        group, element = struct.unpack_from("<HH", content, at)
        tag = group << 16 | element
        at, length = _length(content, at + 4, group, implicit=implicit)
        if tag == _END_OF_SEQUENCE:
            depth -= 1
        if length == _OPEN_END:  # what is inside is read as if it stood here, and not yielded
            depth += tag != _ITEM
            continue
        value = content[at : at + length]
        at += length
        if tag == _SYNTAX:
            implicit = _text(value) == _IMPLICIT
        if depth == 0 and tag not in (_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE):
            yield tag, value


def _length(content: bytes, at: int, group: int, *, implicit: bool) -> tuple[int, int]:
    """Return where an element's value begins, and how many bytes it has."""
    if group == _ITEM >> 16 or (implicit and group != _SYNTAX >> 16):
        return at + 4, struct.unpack_from("<I", content, at)[0]
    if content[at : at + 2] in _LONG_TYPES:
        return at + 8, struct.unpack_from("<I", content, at + 4)[0]
    return at + 4, struct.unpack_from("<H", content, at + 2)[0]


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")
