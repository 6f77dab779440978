"""Guards for HDF5 files: only data that lie in the file itself and were written are read.

The format lets a file hand out other files (external links, external storage, virtual datasets),
and gives zeros for rows that were never written. Neither is what a feature file claims to hold.
Functions here raise `UnsoundError`, or what h5py raises on damage; call them within
`tcssa.files.boundary.reading`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError, one_line
from tcssa.files.boundary import UnsoundError, next_step, reading, require_file
from tcssa.files.forwarding import content
from tcssa.files.hdf5_filters import filters_of
from tcssa.files.hdf5_structures import require_sound_structures

_MAX_RATIO = 1032
"""No block of deflate grows more; a larger claim is not compression."""
_FEW_BLOCKS = 256
"""Blocks that are counted in less time than the file takes to open."""
_PLAIN_TYPES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM)
_ASKED_FOR = ("encoder", "extractor", "patch_size_level0", "unit", "coords_unit", "complete")
"""Attributes that are never skipped: what they say decides how the rest is read."""
_MAX_LINKS = 8
"""Soft links that lead on to each other; they stay in the file."""
_HERE = "."
"""The name that a virtual dataset gives to its own file."""


def open_hdf5(path: Path, error: type[FileError], *, hint: str | None = None) -> h5py.File:
    """Open an HDF5 file for reading.

    Args:
        path: The file.
        error: Type of the error to raise.
        hint: The next step for the user; None leaves it to the error's type.

    Raises:
        FileError: Of the type ``error``; the file cannot be read.
    """
    require_file(path, error)
    try:
        file = h5py.File(content(path), "r")
    except (OSError, RuntimeError, ValueError) as fault:  # HDF5 tells it at length
        number = fault.errno if isinstance(fault, OSError) else None
        said = os.strerror(number) if number else one_line(fault)
        step = next_step(fault, hint)
        raise error(path, f"is not a readable HDF5 file ({said})", hint=step) from fault
    try:
        with reading(path, error, hint=hint):
            require_sound_structures(file.id, h5py.h5g.open(file.id, b"/"))
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def hdf5_file(
    path: Path, error: type[FileError], *, hint: str | None = None
) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading within a block; whatever goes wrong in it names the file.

    Args:
        path: The file.
        error: Type of the error to raise.
        hint: The next step for the user; None leaves it to the error's type.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, or the block failed.
    """
    with reading(path, error, hint=hint), open_hdf5(path, error, hint=hint) as file:
        yield file


def find_object(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """Find a dataset or group by its path.

    Args:
        group: The file, or a group in it.
        name: The path below the group, or from the root if it begins with ``/``.

    Returns:
        The dataset or group; None if there is none.

    Raises:
        UnsoundError: A part of the path is a link to another file, which is not followed, a link
            that leads nowhere, or neither dataset nor group; or the library could not walk its
            structures.
    """
    return _walk(group, name, _MAX_LINKS)


def _walk(group: h5py.Group, name: str, links_left: int) -> h5py.Dataset | h5py.Group | None:
    found: h5py.Dataset | h5py.Group = group.file["/"] if name.startswith("/") else group
    for part in filter(None, name.split("/")):
        key = part.encode("utf-8", "surrogateescape")
        if not isinstance(found, h5py.Group) or not found.id.links.exists(key):
            return None
        kind = found.id.links.get_info(key).type
        if kind == h5py.h5l.TYPE_SOFT and links_left:
            target = found.id.links.get_val(key).decode("utf-8", "surrogateescape")
            inner = _walk(found, target, links_left - 1)
            if inner is None:
                raise UnsoundError(f"its {part!r} is a link that leads nowhere")
            found = inner
            continue
        if kind != h5py.h5l.TYPE_HARD:
            raise UnsoundError(f"its {name!r} is a link to another place, not data")
        identifier = h5py.h5o.open(found.id, key)
        require_sound_structures(h5py.h5i.get_file_id(identifier), identifier)
        if isinstance(identifier, h5py.h5d.DatasetID):
            found = h5py.Dataset(identifier)
        elif isinstance(identifier, h5py.h5g.GroupID):
            found = h5py.Group(identifier)
        else:
            raise UnsoundError(f"its {name!r} is a named type, not data")
    return found


def numbers(
    group: h5py.Group,
    name: str,
    *,
    kinds: str = "f",
    ndim: int | None = None,
    looked_up_later: bool = False,
) -> h5py.Dataset:
    """Find a dataset of numbers that lies in the file and was written.

    Args:
        group: The file, or a group in it.
        name: The dataset's path.
        kinds: NumPy's letters for the kinds of numbers that are allowed: ``f``, ``i``, ``u``,
            ``b``.
        ndim: The number of its dimensions; None takes any.
        looked_up_later: See `require_written`.

    Raises:
        UnsoundError: There is no such dataset, it is a group, lies in another file or was not
            written in full, or its numbers or dimensions are of another kind.
    """
    found = find_object(group, name)
    if found is None:
        raise UnsoundError(f"has no {name!r}")
    return require_numbers(found, name, kinds=kinds, ndim=ndim, looked_up_later=looked_up_later)


def require_numbers(
    dataset: h5py.Dataset | h5py.Group,
    name: str,
    *,
    kinds: str = "f",
    ndim: int | None = None,
    looked_up_later: bool = False,
) -> h5py.Dataset:
    """Require of what `find_object` found that it is what `numbers` finds; return it.

    Args:
        dataset: The dataset or group that was found.
        name: Its path, named in errors.
        kinds: See `numbers`.
        ndim: See `numbers`.
        looked_up_later: See `require_written`.

    Raises:
        UnsoundError: It is a group, lies in another file or was not written in full, or its numbers
            or dimensions are of another kind.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise UnsoundError(f"its {name!r} is a group, not a dataset")
    require_stored_here(dataset, name)
    shape, kind = dataset.shape, dataset.dtype.kind
    if shape is None or ndim not in (None, len(shape)):
        found = "no array" if shape is None else f"an array of shape {list(shape)}"
        raise UnsoundError(f"its {name!r} is {found}, expected {ndim or 'some'} dimensions")
    if kind not in kinds:
        types = " or ".join(_KIND_NAMES[each] for each in kinds)
        raise UnsoundError(f"its {name!r} must be {types}, found {dataset.dtype}")
    require_written(dataset, name, looked_up_later=looked_up_later)
    return dataset


_KIND_NAMES = {"f": "floating point", "i": "integers", "u": "unsigned integers", "b": "booleans"}


def require_stored_here(dataset: h5py.Dataset, name: str) -> None:
    """Require that a dataset's numbers lie in its own file, before anything else is asked of it.

    Args:
        dataset: The dataset.
        name: Its path, named in errors.

    Raises:
        UnsoundError: The numbers lie in another file, or are put together from other files, with
            gaps, or from data that are not there.
    """
    plist = dataset.id.get_create_plist()
    if plist.get_external_count():
        raise UnsoundError(f"its {name!r} lies in another file, which is not read")
    if plist.get_layout() == h5py.h5d.VIRTUAL:
        _require_own_sources(dataset, name)


def _require_own_sources(dataset: h5py.Dataset, name: str) -> None:
    """Require that a virtual dataset is put together, without gaps, from data of its own file."""
    plist = dataset.id.get_create_plist()
    num_mapped = 0
    for part in range(plist.get_virtual_count()):
        source_name = plist.get_virtual_dsetname(part)
        if plist.get_virtual_filename(part) != _HERE or "%" in source_name:
            raise UnsoundError(f"its {name!r} is put together from other files, which are not read")
        source = find_object(dataset.file, source_name)
        if not isinstance(source, h5py.Dataset) or source.is_virtual:
            raise UnsoundError(f"its {name!r} is put together from what is not there")
        require_stored_here(source, source_name)
        require_written(source, source_name)
        mapped = plist.get_virtual_vspace(part).get_select_npoints()
        chosen = plist.get_virtual_srcspace(part)
        if chosen.get_select_type() == h5py.h5s.SEL_ALL:  # it has no bounds of its own
            is_there = mapped == source.size
        else:
            last = chosen.get_select_bounds()[1]
            is_there = all(end < size for end, size in zip(last, source.shape, strict=True))
        if not is_there:
            raise UnsoundError(f"its {name!r} is put together from rows that are not there")
        num_mapped += mapped
    if num_mapped != dataset.size:
        raise UnsoundError(f"its {name!r} has gaps: {num_mapped} of {dataset.size} numbers")


def require_written(dataset: h5py.Dataset, name: str, *, looked_up_later: bool = False) -> None:
    """Require that there is storage for all that a dataset's shape claims.

    A writer that was killed after it had claimed the space leaves a dataset that reads as zeros.

    Args:
        dataset: The dataset.
        name: Its path, named in errors.
        looked_up_later: Whether `block_table` is asked before the first read, so that very many
            blocks need not be counted now if the file is large enough for them. Only of such a
            dataset are packed blocks read: of any other, the library would unpack them
            (`tcssa.files.hdf5_filters`).

    Raises:
        UnsoundError: A part was never written, the shape claims more than the storage can hold, or
            blocks are packed and not looked up later.
    """
    shape, chunks = dataset.shape, dataset.chunks
    item_bytes = dataset.id.get_type().get_size()  # as stored; a bfloat16 is read as float32
    if shape is None or 0 in shape or dataset.is_virtual:
        return
    if chunks is None:
        if dataset.id.get_storage_size() < math.prod(shape) * item_bytes:
            raise UnsoundError(f"its {name!r} was never written")
        return
    blocks = num_blocks(dataset)
    claimed = blocks * math.prod(chunks) * item_bytes
    is_packed = bool(filters_of(dataset))
    if is_packed and not looked_up_later:
        raise UnsoundError(f"its {name!r} is packed, which only features and coords may be")
    if claimed > dataset.file.id.get_filesize() * (_MAX_RATIO if is_packed else 1):
        raise UnsoundError(f"its {name!r} claims {claimed:,} bytes, of which most were not written")
    if looked_up_later and not is_packed and blocks > _FEW_BLOCKS:
        return
    written = dataset.id.get_num_chunks()
    if written != blocks:
        raise UnsoundError(f"of its {name!r} {written:,} of {blocks:,} blocks were written")
    if is_packed and claimed > _MAX_RATIO * dataset.id.get_storage_size():
        raise UnsoundError(f"its {name!r} claims {claimed:,} bytes, more than can be stored in it")


def num_blocks(dataset: h5py.Dataset) -> int:
    """Count the blocks of a chunked dataset, including the padded ones at the edges."""
    return math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))


@dataclass(frozen=True)
class BlockTable:
    """The places of the blocks of a chunked dataset in its file, in C order.

    Attributes:
        offsets: First byte of each, int64.
        sizes: Stored bytes of each, int64.
        masks: The filters that were skipped for each, one bit per filter; int64.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    masks: NDArray[np.int64]


def block_table(dataset: h5py.Dataset) -> BlockTable | None:
    """Look up where all blocks lie; None where an address is beyond any file.

    The tree that names the blocks has no checksum in most files, and HDF5 gives zeros for a block
    that it does not find there.

    Raises:
        UnsoundError: A block is missing from the tree or listed twice, or one that is not packed
            has another length than its numbers take.
    """
    counts = [-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)]
    found: list[Any] = []  # one after another: first indices, mask, offset, size
    dataset.id.chunk_iter(found.extend)  # thousands of tuples kept would be work for the collector
    firsts, masks, offsets, sizes = (found[i::4] for i in range(4))
    num_found, num_axes = len(firsts), len(counts)
    try:
        stored = np.array([offsets, sizes, masks], np.int64)
    except OverflowError:
        return None
    flat = np.fromiter(chain.from_iterable(firsts), np.int64, num_found * num_axes)
    steps = flat.reshape(num_found, num_axes) // np.array(dataset.chunks)
    inside = (steps < counts).all(axis=1) & (stored[1] > 0)
    in_c_order = steps @ [math.prod(counts[axis + 1 :]) for axis in range(num_axes)]
    order = np.full(math.prod(counts), -1)
    order[in_c_order[inside]] = np.flatnonzero(inside)
    missing = int((order < 0).sum())
    if missing or num_found != len(order):
        raise UnsoundError(f"{missing:,} of {len(order):,} blocks of rows are missing")
    if not filters_of(dataset) and (stored[1] != _block_bytes(dataset)).any():
        raise UnsoundError("a block of rows is of another length than it must be")
    return BlockTable(*stored[:, order])


def _block_bytes(dataset: h5py.Dataset) -> int:
    """Count the bytes of a block's numbers; HDF5 reads beyond a block that has fewer."""
    return int(math.prod(dataset.chunks) * dataset.id.get_type().get_size())


def require_findable(dataset: h5py.Dataset, table: BlockTable) -> None:
    """Require that HDF5 finds each block of a dataset where the tree lists it.

    It looks a block up by a key with one more number than the list shows.

    Args:
        dataset: The dataset.
        table: Its blocks, as `block_table` lists them.

    Raises:
        UnsoundError: HDF5 does not find a block, and would give zeros for it.
    """
    counts = [-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)]
    for place, offset in enumerate(table.offsets):
        steps = np.unravel_index(place, counts)
        first = tuple(int(step) * size for step, size in zip(steps, dataset.chunks, strict=True))
        if dataset.id.get_chunk_info_by_coord(first).byte_offset != offset:
            raise UnsoundError(f"the block of rows from {first[0]} on is not found")


def attributes(holder: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Read attributes of a file, or of what `find_object` found, as plain values.

    These are texts, numbers, truth values, or arrays of them. Attributes of other types are
    skipped: h5py may end the process where such a one is damaged.

    Raises:
        UnsoundError: An attribute that decides how the rest is read is of another type.
    """
    found = {}
    for name in holder.attrs:
        key = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        kind = h5py.h5a.open(holder.id, key).get_type().get_class()
        if kind not in _PLAIN_TYPES:
            if name in _ASKED_FOR:
                raise UnsoundError(f"its attribute {name!r} is of a type that is not read")
            continue
        found[str(name)] = plain(holder.attrs[name])
    return found


def plain(value: Any) -> Any:
    """Turn an attribute's bytes or NumPy scalar into a plain value; return others as they are."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value
