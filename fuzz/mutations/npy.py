"""Damage to ``.npy``: the text of its header, and its data."""

from __future__ import annotations

import re
import struct
from random import Random

from fuzz.mutations.octets import damage, other_integer
from fuzz.mutations.pickles import mutate_pickle

_DESCRIPTIONS = (
    "'<f4'", "'>f4'", "'<f2'", "'<f8'", "'|f4'", "'<f16'", "'|O'", "'O'", "'<c8'", "'<i8'", "'|V8'",
    "'<U9999999'", "'|S0'", "'<M8[ns]'", "'|b1'", "[('a', '<f4')]", "[('a', '<f4', (1000000000,))]",
    "('<f4', (2, 2))", "'<f4,<f4'", "None", "''", "1", "'float32'", "'|V0'",
)  # fmt: skip
_NOT_A_HEADER = (
    b"{", b"{}", b"[]", b"{'descr': '<f4'}", b"(" * 9000, b"__import__('os').system('true')",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'shape': (4, 3)}", b"\0" * 64,
    b"{'descr': '<f4', 'fortran_order': 1, 'shape': (3, 4)}", b"'" * 50, b"{**{}}", b"1" * 9999,
)  # fmt: skip


def mutate_npy(rng: Random, seed: bytes) -> bytes:
    """Damage a ``.npy`` file; the pickle in it if it holds one."""
    width, begin = (2, 10) if seed[6] == 1 else (4, 12)
    end = begin + int.from_bytes(seed[8 : 8 + width], "little")
    header, data = seed[begin:end], seed[end:]
    chance = rng.random()
    if b"|O" in header and chance < 0.8:
        return seed[:end] + mutate_pickle(rng, data)
    if chance < 0.25:
        damaged = bytearray(seed)
        damage(rng, damaged)
        return bytes(damaged)
    header = _other_header(rng, header)
    if rng.random() < 0.2:
        part = bytearray(data)
        damage(rng, part)
        data = bytes(part)
    length = len(header)
    if rng.random() < 0.1:
        length = other_integer(rng, length)
    code = "<H" if width == 2 else "<I"
    return seed[:8] + struct.pack(code, length % 2 ** (8 * width)) + header + data


def _other_header(rng: Random, header: bytes) -> bytes:
    chance = rng.random()
    text = header.decode("latin-1")
    if chance < 0.3:
        text = re.sub(r"('descr': )[^,]+", lambda m: m[1] + rng.choice(_DESCRIPTIONS), text)
    elif chance < 0.7:
        numbers = list(re.finditer(r"\d+(?=[,)])", text))
        if numbers:
            one = rng.choice(numbers)
            value = str(rng.choice((1, 1, -1)) * other_integer(rng, int(one[0])))
            if rng.random() < 0.1:
                value = rng.choice(("True", "1.5", "1L", "''", "()", "9" * 30, "0x10"))
            text = text[: one.start()] + value + text[one.end() :]
    elif chance < 0.8:
        text = re.sub("True|False", rng.choice(("True", "False", "0", "None", "[]")), text)
    elif chance < 0.9:
        return rng.choice(_NOT_A_HEADER) + b"\n"
    else:
        part = bytearray(header)
        damage(rng, part)
        return bytes(part)
    return text.encode("latin-1", "replace")
