"""Damage to any file: flipped bits, cut ends, moved blocks, numbers at their limits."""

from __future__ import annotations

import struct
from random import Random
from typing import Literal

INTERESTING = (
    0, 1, 2, 3, 7, 8, 16, 64, 127, 128, 255, 256, 1000, 2**15 - 1, 2**15, 2**16 - 1, 2**16, 10**6,
    2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
"""At and beside the limits of machine numbers; taken modulo the width of a field."""
Order = Literal["<", ">"]
_ORDERS: tuple[Order, Order] = ("<", ">")
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MAX_GROWTH = 4096


def mutate_octets(rng: Random, seed: bytes) -> bytes:
    """Damage a file in one to four places."""
    data = bytearray(seed)
    for _ in range(_num_steps(rng)):
        damage(rng, data)
    return bytes(data)


def damage(rng: Random, data: bytearray) -> None:
    """Damage a file in one place."""
    if not data:
        data += rng.randbytes(rng.randrange(16))
        return
    rng.choice(_STEPS)(rng, data)


def flip_bit(rng: Random, data: bytearray, begin: int = 0, size: int | None = None) -> None:
    """Flip one bit, within a block if one is given."""
    at = begin + rng.randrange(len(data) - begin if size is None else size)
    if at < len(data):
        data[at] ^= 1 << rng.randrange(8)


def read_integer(data: bytes | bytearray, at: int, width: int, order: Order) -> int:
    """Read an unsigned number of 1, 2, 4 or 8 bytes; 0 where the file is too short."""
    if at + width > len(data):
        return 0
    (value,) = struct.unpack_from(order + _CODES[width], data, at)
    return int(value)


def write_integer(data: bytearray, at: int, width: int, order: Order, value: int) -> None:
    """Write a number of 1, 2, 4 or 8 bytes, modulo what fits; nothing beyond the end."""
    if at + width <= len(data):
        struct.pack_into(order + _CODES[width], data, at, value % 2 ** (8 * width))


def other_integer(rng: Random, value: int) -> int:
    """Choose a number that a field might be damaged to."""
    chance = rng.random()
    if chance < 0.6:
        return rng.choice(INTERESTING)
    if chance < 0.8:
        return value + rng.choice((-2, -1, 1, 2))
    if chance < 0.9:
        return value * rng.choice((2, 3, 16, 1000))
    return rng.getrandbits(64)


def _num_steps(rng: Random) -> int:
    return rng.choice((1, 1, 1, 2, 2, 3, 4))


def _place(rng: Random, data: bytearray) -> tuple[int, int]:
    """Choose a block: a few bytes mostly, sometimes half of the file."""
    at = rng.randrange(len(data))
    most = rng.choice((4, 16, 64, len(data) // 2 + 1))
    return at, rng.randint(1, most)


def _set_octet(rng: Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.getrandbits(8)))


def _set_integer(rng: Random, data: bytearray) -> None:
    width, order = rng.choice((2, 4, 8)), rng.choice(_ORDERS)
    at = rng.randrange(len(data))
    value = other_integer(rng, read_integer(data, at, width, order))
    write_integer(data, at, width, order, value)


def _cut(rng: Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _take_out(rng: Random, data: bytearray) -> None:
    at, size = _place(rng, data)
    del data[at : at + size]


def _repeat(rng: Random, data: bytearray) -> None:
    at, size = _place(rng, data)
    times = rng.choice((1, 1, 2, 16))
    data[at:at] = data[at : at + min(size, _MAX_GROWTH)] * times


def _insert(rng: Random, data: bytearray) -> None:
    at, size = _place(rng, data)
    data[at:at] = rng.randbytes(min(size, 64))


def _copy_over(rng: Random, data: bytearray) -> None:
    at, size = _place(rng, data)
    to = rng.randrange(len(data))
    block = data[at : at + size]
    data[to : to + len(block)] = block


def _swap(rng: Random, data: bytearray) -> None:
    size = rng.choice((4, 8, 16, 64))
    one, other = rng.randrange(len(data)), rng.randrange(len(data))
    data[one : one + size], data[other : other + size] = (
        data[other : other + size],
        data[one : one + size],
    )


def _blank(rng: Random, data: bytearray) -> None:
    at, size = _place(rng, data)
    data[at : at + size] = bytes(len(data[at : at + size]))


def _lengthen(rng: Random, data: bytearray) -> None:
    data += rng.choice((b"\0", b"\xff", b"\n", bytes(512), rng.randbytes(64)))


_STEPS = (
    flip_bit, flip_bit, flip_bit, _set_octet, _set_octet, _set_integer, _set_integer, _cut,
    _take_out, _repeat, _insert, _copy_over, _swap, _blank, _lengthen,
)  # fmt: skip
