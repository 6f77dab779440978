"""Heads of DICOM files, as much as tells a slide from other images."""

import struct
from pathlib import Path

from tcssa.files.dicom import WHOLE_SLIDE

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def _element(group: int, number: int, kind: str, value: bytes, *, implicit: bool = False) -> bytes:
    value += b" " * (len(value) % 2)
    head = struct.pack("<HH", group, number)
    if implicit:
        return head + struct.pack("<I", len(value)) + value
    return head + kind.encode() + struct.pack("<H", len(value)) + value


def write_dicom(
    path: Path,
    series: str,
    *,
    sop_class: str = WHOLE_SLIDE,
    kind: str = "VOLUME",
    implicit: bool = False,
) -> Path:
    """A DICOM file without pixels, with a nested sequence of open end in front of its series."""
    syntax = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.4.50"
    content = bytes(128) + b"DICM" + _element(2, 0x10, "UI", syntax.encode())
    content += _element(8, 8, "CS", f"ORIGINAL\\PRIMARY\\{kind}".encode(), implicit=implicit)
    content += _element(8, 0x16, "UI", sop_class.encode(), implicit=implicit)
    opened = struct.pack("<I", 0xFFFFFFFF)
    sequence = struct.pack("<HH", 8, 0x1140) + (b"" if implicit else b"SQ\0\0") + opened
    item = struct.pack("<HH", 0xFFFE, 0xE000) + opened
    inside = _element(0x20, 0xE, "UI", b"9.9.9", implicit=implicit)
    ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    content += sequence + item + inside + ends
    content += _element(0x20, 0xE, "UI", series.encode(), implicit=implicit)
    content += _element(0x28, 2, "US", b"\3\0", implicit=implicit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
