"""Damage to safetensors: its JSON header, the facts in it, and its tensors."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

from fuzz.mutations.json_values import dumped, mutate_value
from fuzz.mutations.octets import damage, other_integer

_FACTS = "tcssa"
_DTYPES = ("F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F4", "C64", "X", "")


def mutate_safetensors(rng: Random, seed: bytes) -> bytes:
    """Damage a safetensors file."""
    (length,) = struct.unpack_from("<Q", seed)
    header, data = json.loads(seed[8 : 8 + length]), seed[8 + length :]
    chance = rng.random()
    if chance < 0.2:
        damaged = bytearray(seed)
        damage(rng, damaged)
        return bytes(damaged)
    if chance < 0.5:
        facts = json.loads(header["__metadata__"][_FACTS])
        header["__metadata__"][_FACTS] = dumped(mutate_value(rng, facts)).decode()
    elif chance < 0.8:
        _damage_tensor(rng, header)
    else:
        header = mutate_value(rng, header)
    text = dumped(header)
    size = len(text) if rng.random() < 0.95 else other_integer(rng, len(text))
    if rng.random() < 0.1:
        part = bytearray(data)
        damage(rng, part)
        data = bytes(part)
    return struct.pack("<Q", size % 2**64) + text + data


def _damage_tensor(rng: Random, header: dict[str, Any]) -> None:
    """Let one tensor claim something else; mostly what still fits its bytes."""
    name = rng.choice([name for name in header if name != "__metadata__"])
    tensor, chance = header[name], rng.random()
    if chance < 0.3:
        tensor["shape"] = rng.choice((tensor["shape"][::-1], [*tensor["shape"], 1], [], [0]))
    elif chance < 0.5 and tensor["shape"]:
        at = rng.randrange(len(tensor["shape"]))
        tensor["shape"][at] = other_integer(rng, tensor["shape"][at])
    elif chance < 0.6:
        tensor["dtype"] = rng.choice(_DTYPES)
    elif chance < 0.75:
        at = rng.randrange(2)
        tensor["data_offsets"][at] = other_integer(rng, tensor["data_offsets"][at])
    elif chance < 0.9:
        header[rng.choice((f"{name}.x", "", "compressor.gate", "a" * 300))] = header.pop(name)
    else:
        del header[name]
