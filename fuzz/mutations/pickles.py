"""Damage to a pickle: its opcodes and their arguments, and the names it asks for."""

from __future__ import annotations

import pickletools
from functools import cache
from itertools import pairwise
from random import Random

from fuzz.mutations.octets import INTERESTING, damage

_GLOBALS = (
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n",
    b"cnumpy._core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n",
    b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n", b"ctorch\nLongStorage\n",
    b"ctorch\nComplexFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n",
    b"ctorch._utils\n_rebuild_qtensor\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch.storage\n_load_from_bytes\n", b"ctorch\nSize\n", b"ctorch\ndevice\n",
    b"cargparse\nNamespace\n", b"cpathlib\nPosixPath\n", b"c_codecs\nencode\n",
)  # fmt: skip
_DTYPES = (b"f4", b"f8", b"f2", b"i8", b"O8", b"V8", b"c8", b"M8", b"U4", b"S4", b"b1", b"f99")
_OPCODES = tuple(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)


def mutate_pickle(rng: Random, seed: bytes) -> bytes:
    """Damage a pickle in one to three of its opcodes."""
    ops = list(_ops(seed))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _damage_ops(rng, ops)
    data = bytearray(b"".join(ops))
    if rng.random() < 0.2:
        damage(rng, data)
    return bytes(data)


@cache
def _ops(seed: bytes) -> tuple[bytes, ...]:
    """Cut a pickle into its opcodes with their arguments; bytes behind it are the last part."""
    starts = [at for _, _, at in pickletools.genops(seed) if at is not None]
    end = seed.index(b".", starts[-1]) + 1
    cuts = [*starts, end]
    parts = [seed[a:b] for a, b in pairwise(cuts)]
    return (*parts, seed[end:])


def _damage_ops(rng: Random, ops: list[bytes]) -> None:
    at, chance = rng.randrange(len(ops)), rng.random()
    if chance < 0.25:
        ops[at] = rng.choice((_integer(rng), rng.choice(_OPCODES), b"N", b")", b"]", b"}"))
    elif chance < 0.4:
        numbers = [i for i, op in enumerate(ops) if op[:1] in (b"K", b"M", b"J", b"\x8a", b"G")]
        if numbers:
            ops[rng.choice(numbers)] = _integer(rng)
    elif chance < 0.55:
        names = [i for i, op in enumerate(ops) if op[:1] in (b"c", b"\x93")]
        if names:
            ops[rng.choice(names)] = rng.choice(_GLOBALS)
    elif chance < 0.65:
        texts = [i for i, op in enumerate(ops) if op[:1] in (b"X", b"\x8c", b"U")]
        if texts:
            text = rng.choice((*_DTYPES, b"features", b"cpu", b"meta", b"0", b"\xff\xfe", b""))
            ops[rng.choice(texts)] = b"X" + len(text).to_bytes(4, "little") + text
    elif chance < 0.75:
        del ops[at]
    elif chance < 0.85:
        ops.insert(rng.randrange(len(ops)), ops[at])
    elif chance < 0.95:
        other = rng.randrange(len(ops))
        ops[at], ops[other] = ops[other], ops[at]
    else:
        part = bytearray(ops[at])
        damage(rng, part)
        ops[at] = bytes(part)


def _integer(rng: Random) -> bytes:
    value = rng.choice((-1, 1)) * rng.choice(INTERESTING)
    packed = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(packed)]) + packed


def mutate_torch_legacy(rng: Random, seed: bytes) -> bytes:
    """Damage a torch file of the older kind: five pickles behind each other, then numbers."""
    parts = list(_pickles(seed))
    at = rng.choice((0, 1, 2, 3, 3, 3, 3, 4, 5))
    if at < len(parts) - 1:
        parts[at] = mutate_pickle(rng, parts[at])
    else:
        part = bytearray(parts[-1])
        damage(rng, part)
        parts[-1] = bytes(part)
    return b"".join(parts)


@cache
def _pickles(seed: bytes) -> tuple[bytes, ...]:
    parts = []
    for _ in range(5):
        ops = _ops(seed)
        seed = ops[-1]
        parts.append(b"".join(ops[:-1]))
    return (*parts, seed)
