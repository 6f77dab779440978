"""The checksum of HDF5's newer metadata: Bob Jenkins' lookup3, for repairing it."""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF


def _turn(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK


def lookup3(data: bytes) -> int:
    """Hash bytes with the initial value 0, as the HDF5 format does."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    num_whole = (len(data) - 1) // 12  # the last block, full or not, is mixed otherwise
    words = struct.unpack_from(f"<{3 * num_whole}I", data)
    for i in range(0, 3 * num_whole, 3):
        a, b, c = (a + words[i]) & _MASK, (b + words[i + 1]) & _MASK, (c + words[i + 2]) & _MASK
        for by_a, by_b, by_c in ((4, 6, 8), (16, 19, 4)):
            a = ((a - c) & _MASK) ^ _turn(c, by_a)
            c = (c + b) & _MASK
            b = ((b - a) & _MASK) ^ _turn(a, by_b)
            a = (a + c) & _MASK
            c = ((c - b) & _MASK) ^ _turn(b, by_c)
            b = (b + a) & _MASK
    last = struct.unpack("<3I", data[12 * num_whole :].ljust(12, b"\0"))
    a, b, c = (a + last[0]) & _MASK, (b + last[1]) & _MASK, (c + last[2]) & _MASK
    for by_c, by_a, by_b in ((14, 11, 25), (16, 4, 14)):
        c = ((c ^ b) - _turn(b, by_c)) & _MASK
        a = ((a ^ c) - _turn(c, by_a)) & _MASK
        b = ((b ^ a) - _turn(a, by_b)) & _MASK
    return int(((c ^ b) - _turn(b, 24)) & _MASK)
