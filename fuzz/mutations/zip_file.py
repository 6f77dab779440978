"""Damage to a zip, as torch writes its files: the headers, and members that are whole again."""

from __future__ import annotations

import io
import struct
import zipfile
from functools import cache
from random import Random

from fuzz.mutations.fields import Field, Layout, mutate_fields
from fuzz.mutations.octets import damage
from fuzz.mutations.pickles import mutate_pickle

_HEADERS = {
    b"PK\3\4": "HHHHHIIIHH",
    b"PK\1\2": "HHHHHHIIIHHHHHII",
    b"PK\5\6": "HHHHIIH",
    b"PK\6\6": "QHHIIQQQQ",
    b"PK\6\7": "IQI",
}
"""The numbers behind each signature."""
_PICKLE = "data.pkl"


def mutate_torch_zip(rng: Random, seed: bytes) -> bytes:
    """Damage a torch file: its zip, or a member of a zip that is whole."""
    if rng.random() < 0.4:
        return mutate_fields(rng, seed, layout_of(seed))
    members = dict(_members(seed))
    pickled = next(name for name in members if name.endswith(_PICKLE))
    chance = rng.random()
    if chance < 0.75:
        members[pickled] = mutate_pickle(rng, members[pickled])
    else:
        name = rng.choice(sorted(members))
        if chance < 0.8:
            del members[name]
        else:
            content = bytearray(members[name])
            damage(rng, content)
            members[name] = bytes(content)
    return rebuilt(members)


def rebuilt(members: dict[str, bytes]) -> bytes:
    """Write a zip of members that are not compressed, with right checksums and no times."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in members.items():
            file.writestr(zipfile.ZipInfo(name), member)
    return content.getvalue()


@cache
def layout_of(seed: bytes) -> Layout:
    """Find the headers and members of a zip."""
    fields: list[Field] = []
    for mark, numbers in _HEADERS.items():
        at = seed.find(mark)
        while at >= 0:
            inner = at + 4
            for code in numbers:
                width = struct.calcsize(f"<{code}")
                fields.append(Field(inner, width))
                inner += width
            at = seed.find(mark, at + 4)
    blocks = []
    with zipfile.ZipFile(io.BytesIO(seed)) as file:
        for info in file.infolist():
            lengths = struct.unpack_from("<HH", seed, info.header_offset + 26)
            if info.file_size:
                blocks.append((info.header_offset + 30 + sum(lengths), info.file_size))
    return Layout(fields, blocks=blocks)


@cache
def _members(seed: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(seed)) as file:
        return tuple((name, file.read(name)) for name in file.namelist())
