"""Damage to the fields of a binary format, after which its checksums may be right again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from fuzz.mutations.octets import (
    Order,
    damage,
    flip_bit,
    other_integer,
    read_integer,
    write_integer,
)

Repair = Callable[[bytearray], None]
"""Makes one checksum right."""
_REPAIRED = 0.7
"""Share of inputs with right checksums: their damage gets past the first check."""


@dataclass(frozen=True)
class Field:
    """A number in a file."""

    at: int
    width: int
    order: Order = "<"


@dataclass(frozen=True)
class Layout:
    """Places of the parts of a valid file.

    Attributes:
        fields: Numbers that say where things are, how many and how large.
        headers: Begin and size of the blocks that hold more of such.
        blocks: Begin and size of data.
        repairs: Its checksums.
    """

    fields: Sequence[Field]
    headers: Sequence[tuple[int, int]] = ()
    blocks: Sequence[tuple[int, int]] = ()
    repairs: Sequence[Repair] = ()


def mutate_fields(rng: Random, seed: bytes, layout: Layout) -> bytes:
    """Damage a file in one to three of its parts."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _damage_part(rng, data, layout)
    if rng.random() < _REPAIRED:
        for repair in layout.repairs:
            repair(data)
    if rng.random() < 0.15:
        damage(rng, data)
    return bytes(data)


def _damage_part(rng: Random, data: bytearray, layout: Layout) -> None:
    chance = rng.random()
    if chance < 0.45 and layout.fields:
        field = rng.choice(layout.fields)
        value = read_integer(data, field.at, field.width, field.order)
        write_integer(data, field.at, field.width, field.order, other_integer(rng, value))
    elif chance < 0.55 and layout.fields:
        one, other = rng.choice(layout.fields), rng.choice(layout.fields)
        value = read_integer(data, one.at, one.width, one.order)
        write_integer(data, other.at, other.width, other.order, value)
    elif chance < 0.75 and layout.headers:
        _damage_header(rng, data, *rng.choice(layout.headers))
    elif chance < 0.9 and layout.blocks:
        flip_bit(rng, data, *rng.choice(layout.blocks))
    elif chance < 0.93 and len(layout.blocks) > 1:
        _swap_blocks(data, rng.choice(layout.blocks), rng.choice(layout.blocks))
    else:
        damage(rng, data)


def _damage_header(rng: Random, data: bytearray, begin: int, size: int) -> None:
    if rng.random() < 0.5:
        flip_bit(rng, data, begin, size)
        return
    at, width = begin + rng.randrange(size), rng.choice((1, 2, 4, 8))
    value = read_integer(data, at, width, "<")
    write_integer(data, at, width, "<", other_integer(rng, value))


def _swap_blocks(data: bytearray, one: tuple[int, int], other: tuple[int, int]) -> None:
    size = min(one[1], other[1])
    first, second = data[one[0] : one[0] + size], data[other[0] : other[0] + size]
    if len(first) == len(second):
        data[one[0] : one[0] + size], data[other[0] : other[0] + size] = second, first
