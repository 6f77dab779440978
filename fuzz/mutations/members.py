"""Damage to a folder: one of its files, each in the way of its kind, or which files there are."""

from __future__ import annotations

from random import Random

from fuzz.folders import pack, unpack
from fuzz.mutations.json_values import mutate_json
from fuzz.mutations.octets import mutate_octets


def mutate_member(rng: Random, seed: bytes) -> bytes:
    """Damage a folder in one to two of its files."""
    files = unpack(seed)
    for _ in range(rng.choice((1, 1, 1, 2))):
        name = rng.choice(sorted(files))
        chance = rng.random()
        if chance < 0.05:
            del files[name]
        elif chance < 0.1:
            files[name] = files[rng.choice(sorted(files))]
        else:
            files[name] = _damaged(rng, name, files[name])
        if not files:
            break
    return pack(files)


def _damaged(rng: Random, name: str, content: bytes) -> bytes:
    is_json = content.lstrip()[:1] in (b"{", b"[") and name.endswith(
        (".json", ".zattrs", ".zarray")
    )
    try:
        return mutate_json(rng, content) if is_json else mutate_octets(rng, content)
    except (ValueError, KeyError, RecursionError):  # damaged before, and no JSON any more
        return mutate_octets(rng, content)
