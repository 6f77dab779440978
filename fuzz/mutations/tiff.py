"""Damage to TIFF: the entries of its directories, their arrays, and its tiles."""

from __future__ import annotations

import struct
from functools import cache
from random import Random

from fuzz.mutations.fields import Field, Layout, mutate_fields
from fuzz.mutations.octets import Order, read_integer

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
"""Bytes of a value, by type."""
_OFFSETS, _LENGTHS = (273, 324), (279, 325)


def mutate_tiff(rng: Random, seed: bytes) -> bytes:
    """Damage a TIFF."""
    return mutate_fields(rng, seed, layout_of(seed))


@cache
def layout_of(seed: bytes) -> Layout:
    """Find the directories and tiles of a TIFF or BigTIFF."""
    order: Order = "<" if seed[:2] == b"II" else ">"
    is_big = read_integer(seed, 2, 2, order) == 43
    word = 8 if is_big else 4
    head = 8 if is_big else 4
    fields = [Field(2, 2, order), Field(head, word, order)]
    blocks: list[tuple[int, int]] = []
    at = read_integer(seed, head, word, order)
    while at:
        count_width = 8 if is_big else 2
        count = read_integer(seed, at, count_width, order)
        fields.append(Field(at, count_width, order))
        at += count_width
        arrays: dict[int, list[int]] = {}
        for _ in range(count):
            tag, kind = struct.unpack_from(f"{order}HH", seed, at)
            values = _values(seed, at, order, word, kind)
            fields += [Field(at, 2, order), Field(at + 2, 2, order), Field(at + 4, word, order)]
            fields += [Field(at + 4 + word, word, order), *values]
            arrays[tag] = [read_integer(seed, each.at, each.width, order) for each in values]
            at += 4 + 2 * word
        fields.append(Field(at, word, order))
        for offsets, lengths in zip(_OFFSETS, _LENGTHS, strict=True):
            blocks += zip(arrays.get(offsets, []), arrays.get(lengths, []), strict=True)
        at = read_integer(seed, at, word, order)
    return Layout(fields, blocks=[block for block in blocks if block[1]])


def _values(seed: bytes, entry: int, order: Order, word: int, kind: int) -> list[Field]:
    """The numbers of an entry, in it or where it points."""
    size = _SIZES.get(kind, 1)
    count = read_integer(seed, entry + 4, word, order)
    at = entry + 4 + word
    if size * count > word:
        at = read_integer(seed, at, word, order)
    width = 4 if kind in (5, 10) else size  # a fraction is two numbers
    return [Field(at + i * width, width, order) for i in range(min(size * count // width, 64))]
