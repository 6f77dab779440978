"""Arrays, pickles, tensors and tables of features that lie, and stores with parts that are gone."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from fuzz.folders import pack, unpack
from fuzz.hostile.case import Case
from fuzz.seeds import features as seeds
from fuzz.seeds.making import numbers


def cases() -> Iterator[Case]:
    """Make all files of features of the corpus but those in HDF5."""
    yield from _npy()
    yield from _pickled()
    yield from _torch()
    yield from _tables()
    yield from _stores()


def npy(header: str, data: bytes = b"") -> bytes:
    """Write an ``.npy`` file with any header."""
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zstd_claim(num_bytes: int) -> bytes:
    """Write a frame of one block, of a few equal bytes, that states another size."""
    return struct.pack("<IBBQ", 0xFD2FB528, 0xC0, 0x58, num_bytes) + b"\x43\0\0\1"


def _npy() -> Iterator[Case]:
    claim = "{{'descr': '{}', 'fortran_order': False, 'shape': {}}}"
    headers = {
        "claims-1e9-rows": claim.format("<f4", "(1000000000, 4)"),
        "claims-2-to-the-62": claim.format("<f4", f"({2**62}, {2**62})"),
        "negative-shape": claim.format("<f4", "(-1, 4)"),
        "rows-of-no-columns": claim.format("<f4", f"({10**12}, 0)"),
        "integers": claim.format("<i8", "(1, 1)"),
        "text-of-a-gigabyte": claim.format("<U250000000", "(1, 1)"),
        "void": claim.format("|V8", "(1, 1)"),
        "object-of-rows": claim.format("|O", "(2, 2)"),
        "structured": "{'descr': [('a', '<f4', (1000, 1000))], 'fortran_order': False, "
        "'shape': (1, 1)}",
        "header-of-code": "__import__('os').system('true')",
        "header-nested": "(" * 5000,
        "header-is-a-list": "[]",
    }
    for name, header in headers.items():
        heavy = name in ("claims-1e9-rows", "structured", "text-of-a-gigabyte")
        yield Case("npy", name, npy(header, bytes(8)), ended_process=heavy)
    whole = seeds.npy_files()[0]
    yield Case("npy", "cut-in-its-data", whole[:-5])
    yield Case("npy", "longer-than-it-says", whole + b"\0" * 12)


class _Call:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


class _Changed:
    """A pickle that makes an array and then gives it another state."""

    def __init__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def __reduce__(self) -> tuple[Any, ...]:
        reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return reconstruct, (np.ndarray, (0,), b"b"), self._state


def _pickled() -> Iterator[Case]:
    import os

    header = "{'descr': '|O', 'fortran_order': False, 'shape': ()}"
    objects = np.dtype("O")
    features = {
        "array-from-a-buffer": _Call(np.ndarray, (1,), objects, b"A" * 8),
        "array-by-its-state": _Changed((1, (1,), objects, False, b"A" * 8)),
        "array-of-more-than-its-bytes": _Changed((1, (1000,), np.dtype("f4"), False, b"A" * 8)),
        "array-of-negative-size": _Changed((1, (-1, -8), np.dtype("f4"), False, b"A" * 32)),
        "array-of-a-structure": _Changed((1, (1,), np.dtype([("a", "O")]), False, b"A" * 8)),
        "dtype-of-objects": objects,
        "calls-a-command": _Call(os.system, "true"),
        "calls-eval": _Call(eval, "1"),
        "calls-numpy": _Call(np.zeros, (10**9, 4)),
    }
    for name, value in features.items():
        content = npy(header, pickle.dumps({"feature": value}, protocol=2))
        heavy = name in ("array-from-a-buffer", "array-by-its-state", "array-of-a-structure")
        yield Case("npy-pickled", name, content, ended_process=heavy)
    opcodes = {
        "text-of-4-gb": b"\x80\x02X\xff\xff\xff\xff",
        "bytes-of-2-to-the-63": b"\x80\x04\x8e" + struct.pack("<Q", 2**63),
        "memo-of-2-to-the-31": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "list-in-itself": b"\x80\x02]q\0h\0a.",
        "lists-in-lists": b"\x80\x02" + b"]" * 3_000 + b"a" * 2_999 + b".",
        "no-end": b"\x80\x02}",
        "stack-is-empty": b"\x80\x020.",
        "one-list-a-million-times": b"\x80\x02]q\0" + b"(h\0h\0h\0h\0h\0h\0h\0h\0lq\0" * 30 + b".",
        "text-protocol": b"cos\nsystem\n(S'true'\ntR.",
        "extension-registry": b"\x80\x02\x82\x01.",
        "persistent-id": b"\x80\x02X\x01\0\0\0xQ.",
    }
    for name, data in opcodes.items():
        yield Case("npy-pickled", name, npy(header, data))


def _torch() -> Iterator[Case]:
    import torch

    rows = torch.from_numpy(numbers(3, 4))
    in_itself: dict[str, Any] = {}
    in_itself["features"] = in_itself
    contents = {
        "sparse": rows.to_sparse(),
        "a-list": [rows],
        "dict-of-no-features": {"other": rows},
        "features-of-text": {"features": "x"},
        "integers": rows.long(),
        "complex": rows.to(torch.complex64),
        "of-four-axes": rows[None, None],
        "meta": torch.empty((3, 4), device="meta"),
        "in-itself": in_itself,
    }
    for name, content in contents.items():
        yield Case("pt", name, _saved(content))
    yield Case("pt", "learnt", _saved(rows.clone().requires_grad_()), is_refused=False)
    for name, data in {"of-one-letter": b"u", "of-letters": b"a.\n", "dots": b"......",
                       "zip-of-nothing": b"PK\5\6" + bytes(18)}.items():  # fmt: skip
        yield Case("pt", name, data)
    plain = seeds.pt_files()[0]
    yield Case("pt", "flipped-bit-in-a-tensor", _flipped(plain, _data_at(plain)))
    yield Case("pt", "cut-in-half", plain[: len(plain) // 2])
    yield Case("pt", "of-the-older-kind-cut", seeds.pt_files()[5][:-7])


def _saved(content: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _data_at(content: bytes) -> int:
    """Return where the numbers of the only tensor begin."""
    return content.find(numbers(7, 3).tobytes())


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def _tables() -> Iterator[Case]:
    texts = {
        "open-quote": '1,2,"p\n3,4,p\n5,6,p"\n7,8,p\n',
        "quote-open-to-the-end": '1,2,p\n3,4,"p\n5,6,p\n',
        "row-too-long": "1,2,p\n3,4,5,p\n",
        "row-too-short": "1,2,p\n3,p\n",
        "no-number": "1,2,p\nx,4,p\n",
        "not-finite": "1,2,p\nnan,inf,p\n",
        "line-separator": "1,2,p\u20283,4,q\n",
        "of-a-zero": "1,2,p\0\n3,4,q\n",
        "names-alone": "a,b,c\n",
    }
    for name, text in texts.items():
        yield Case(
            "feature-csv", name, text.encode(), name != "not-finite"
        )  # told row by row later


def _stores() -> Iterator[Case]:
    for seed, kind in zip(seeds.lazyslide_stores(), ("packed", "plain"), strict=True):
        files = unpack(seed)
        chunks = [name for name in files if "/X/c/" in name]
        gone = {name: content for name, content in files.items() if name != chunks[1]}
        yield Case("lazyslide", f"{kind}-chunk-gone", pack(gone))
        cut = {**files, chunks[0]: files[chunks[0]][:-3]}
        yield Case("lazyslide", f"{kind}-chunk-cut", pack(cut))
        bomb = pack({**files, chunks[0]: zstd_claim(2**40)})
        yield Case("lazyslide", f"{kind}-chunk-claims", bomb, ended_process=kind == "packed")
    described = next(name for name in files if name.endswith("X/zarr.json"))
    claims = {
        "claims-1e12-rows": (b"12,", b"1000000000000,"),
        "negative-shape": (b"12,", b"-12,"),
        "of-integers": (b'"float32"', b'"int32"'),
        "codec-unknown": (b'"name": "bytes"', b'"name": "other"'),
    }
    for name, (old, new) in claims.items():
        changed = files[described].replace(old, new, 1)
        assert changed != files[described], name
        yield Case("lazyslide", name, pack({**files, described: changed}),
                   ended_process=name == "claims-1e12-rows")  # fmt: skip
    tiles = next(name for name in files if name.endswith(".parquet"))
    yield Case("lazyslide", "shapes-cut", pack({**files, tiles: files[tiles][:-20]}))
    nested = b'{"attributes": ' + b"[" * 2_000 + b"]" * 2_000 + b"}"
    yield Case("lazyslide", "metadata-nested", pack({**files, "zarr.json": nested}))
