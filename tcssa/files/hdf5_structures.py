"""Structures of HDF5 that make its library hang, or take memory, where they are damaged.

The library walks a heap of texts by the sizes in it, and an index of blocks by the length that it
states, without end where these make no sense; nothing stops C code that holds Python's lock. For a
text and for the names of a group it takes as much memory as they claim, up to 4 GB from a file of a
few kilobytes. So all are checked before the library is called. They are found through the header of
the object that they belong to (HDF5 File Format Specification 3.0, sections III.D, III.E, IV.A.1
and IV.A.2).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import h5py

from tcssa.files.boundary import UnsoundError

_LAYOUT, _ATTRIBUTE, _CONTINUATION, _SYMBOLS, _ATTRIBUTES = 0x08, 0x0C, 0x10, 0x11, 0x15
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SHARED = 2
"""Flag of a message whose content stands elsewhere."""
_NOWHERE = b"\xff" * 8
"""An address of what is not there yet."""
_VARIABLE_LENGTH = 9
"""Class of a type whose values are lengths and places in a heap."""
_MAX_HEADER_BYTES = 2**20
_MAX_DEPTH = 64
"""Depth of a tree of version 2; one of 2^64 records is not as deep."""
_ENTRIES_AT = {b"EAHD": 44, b"FAHD": 8}
"""Where an extensible and a fixed array state their number of entries."""
_NO_GAP = 1
"""Ends the list of gaps between names."""
_INDEX_FACTS_BYTES = {2: 0, 3: 1, 4: 5, 5: 6}
"""Bytes between the kind of an index and its address, by kind: none, fixed, extensible, tree."""

Message = tuple[int, int, bytes]
"""Kind, flags and content."""


def require_sound_structures(file: h5py.h5f.FileID, holder: h5py.h5g.GroupID) -> None:
    """Require that the library can walk the heaps of an object's attributes and its index.

    Args:
        file: The file. One that is not on a disk is not checked.
        holder: The object, a group or a dataset.

    Raises:
        UnsoundError: A header, a heap of texts, an index of blocks or the names of a group are
            damaged, or attributes are stored in a way that is not read here.
    """
    is_on_disk = file.get_access_plist().get_driver() == h5py.h5fd.SEC2
    if not hasattr(os, "preadv") or not is_on_disk:  # what holds a descriptor
        return
    descriptor = file.get_vfd_handle()
    # the list of properties takes longer than all that follows
    begins = os.pread(descriptor, len(_SIGNATURE), 0) == _SIGNATURE
    base = 0 if begins else file.get_create_plist().get_userblock()
    # not h5o.get_info, which walks the index
    address = h5py.h5g.get_objinfo(holder, b".").objno[0]
    file_bytes = os.fstat(descriptor).st_size
    heaps = set()
    for kind, flags, content in _messages(descriptor, base, address):
        if (kind == _ATTRIBUTE and flags & _SHARED) or (kind == _ATTRIBUTES and _is_dense(content)):
            raise UnsoundError("has attributes that stand apart from their object, not read here")
        if kind == _ATTRIBUTE:
            for length, place in _texts_of(content):
                if length > file_bytes:
                    raise UnsoundError(f"an attribute claims a text of {length:,} bytes")
                heaps.add(place)
        elif kind == _LAYOUT and (index := _index_of(content)) is not None:
            _require_index(os.pread(descriptor, 64, base + index), file_bytes)
        elif kind == _SYMBOLS and len(content) >= 16:
            (names,) = struct.unpack_from("<Q", content, 8)
            _require_names(descriptor, base, base + names, file_bytes)
    for place in heaps - {0}:
        _require_heap(descriptor, base + place)


def _messages(descriptor: int, base: int, address: int) -> Iterator[Message]:
    """Read the messages of an object's header, as far as they are whole."""
    head = os.pread(descriptor, 48, base + address)
    if head[:4] == b"OHDR":
        flags = head[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        blocks = [(address + at + width, int.from_bytes(head[at : at + width], "little"))]
        # the kind takes a byte; behind the flags a number follows where their order is kept
        layout, skip, signature = struct.Struct("<BHB"), 2 if flags & 4 else 0, 4
    else:
        blocks = [(address + 16, int.from_bytes(head[8:12], "little"))]
        layout, skip, signature = struct.Struct("<HHB"), 3, 0
    seen, num_bytes = set(), 0
    for begin, length in blocks:  # grows as continuations are met
        num_bytes += length
        if begin in seen or num_bytes > _MAX_HEADER_BYTES:
            raise UnsoundError("the header of an object is damaged")
        seen.add(begin)
        data = os.pread(descriptor, length, base + begin)
        at = signature if begin != blocks[0][0] else 0
        while at + layout.size + skip <= len(data):
            kind, size, flags = layout.unpack_from(data, at)
            at += layout.size + skip
            content = data[at : at + size]
            at += size
            if kind == _CONTINUATION and len(content) >= 16:
                blocks.append(struct.unpack_from("<QQ", content))
            yield kind, flags, content


def _is_dense(attributes: bytes) -> bool:
    """Tell whether attributes are in a heap of their own, by the message that says where."""
    at = 2 + (2 if attributes[1:2] and attributes[1] & 1 else 0)
    return attributes[at : at + 8] not in (b"", _NOWHERE)


def _texts_of(attribute: bytes) -> list[tuple[int, int]]:
    """Find bytes and heap of each of an attribute's values; none where they are numbers."""
    if len(attribute) < 9:
        return []
    version, flags, *sizes = struct.unpack_from("<BBHHH", attribute)
    if version > 1 and flags:  # of version 1 they mean nothing
        raise UnsoundError("an attribute's type stands elsewhere, which is not read")
    at = 9 if version == 3 else 8
    if version == 1:  # each part is filled up to a multiple of 8
        sizes = [-(-size // 8) * 8 for size in sizes]
    type_at = at + sizes[0]
    if type_at >= len(attribute) or attribute[type_at] & 0x0F != _VARIABLE_LENGTH:
        return []
    item_bytes = int.from_bytes(attribute[type_at + 12 : type_at + 16], "little")  # of a character
    values = attribute[at + sum(sizes) :]
    texts = struct.iter_unpack("<IQI", values[: len(values) // 16 * 16])
    return [(length * item_bytes, place) for length, place, _ in texts]


def _index_of(layout: bytes) -> int | None:
    """Find the index of a chunked layout of version 4; None where it has none of the new kinds."""
    if len(layout) < 6 or layout[0] < 4 or layout[1] != 2:
        return None
    at = 5 + layout[3] * layout[4]
    facts_bytes = _INDEX_FACTS_BYTES.get(layout[at]) if at < len(layout) else None
    if facts_bytes is None:
        return None
    place = layout[at + 1 + facts_bytes : at + 9 + facts_bytes]
    return None if place == _NOWHERE else int.from_bytes(place, "little")


def _require_heap(descriptor: int, place: int) -> None:
    """Require that the objects of a heap of texts fill it."""
    head = os.pread(descriptor, 16, place)
    if head[:4] != b"GCOL":
        return  # the library says so
    length = int.from_bytes(head[8:], "little")
    heap = os.pread(descriptor, min(length, _MAX_HEADER_BYTES), place)
    at = 16
    while at + 16 <= len(heap):
        index, object_bytes = struct.unpack_from("<H6xQ", heap, at)
        if index == 0:  # the free space, which is the rest
            if at + object_bytes != length:
                raise UnsoundError("a heap of texts is damaged")
            return
        at += 16 + -(-object_bytes // 8) * 8
    if at > length:
        raise UnsoundError("a heap of texts is damaged")


def _require_names(descriptor: int, base: int, place: int, file_bytes: int) -> None:
    """Require that the names of a group are no longer than the file, and their gaps a finite list.

    The library notes each gap, and follows a list that leads back into itself until memory ends.
    """
    head = os.pread(descriptor, 32, place)
    if len(head) < 32 or head[:4] != b"HEAP":
        return  # the library says so
    length, gap, begin = struct.unpack_from("<QQQ", head, 8)
    seen = set()
    while gap != _NO_GAP and length <= file_bytes:
        if gap in seen or gap + 16 > length:
            raise UnsoundError("the names of a group are damaged")
        seen.add(gap)
        gap = int.from_bytes(os.pread(descriptor, 8, base + begin + gap), "little")
    if length > file_bytes:
        raise UnsoundError("the names of a group are damaged")


def _require_index(head: bytes, file_bytes: int) -> None:
    """Require that an index has no more entries than the file has bytes, and no endless depth."""
    if head[:4] in _ENTRIES_AT:
        at = _ENTRIES_AT[head[:4]]
        is_sound = int.from_bytes(head[at : at + 8], "little") <= file_bytes
    else:
        is_sound = head[:4] != b"BTHD" or int.from_bytes(head[12:14], "little") <= _MAX_DEPTH
    if not is_sound:
        raise UnsoundError("an index of blocks is damaged")
