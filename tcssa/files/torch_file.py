"""Files that torch saved, read without `torch.load`.

The current form is a zip archive of a pickle and one entry per storage; the legacy form is a series
of pickles followed by the storages' bytes. Both hold the tensors' numbers as they are in memory.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import IO, Any

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading, require_file
from tcssa.files.pickled import Known, PickleReader, Window
from tcssa.files.torch_names import Storage, TorchNames, storage_dtype

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ZIP_MAGIC = b"PK\3\4"
_PIECE_BYTES = 2**24
_SAVE_TENSORS = "save the tensors alone: torch.save(model.state_dict(), file), or safetensors"


def read_torch_file(path: Path, error: type[FileError]) -> Any:
    """Read what `torch.save` wrote.

    Args:
        path: A file of either form.
        error: Type of the error to raise.

    Returns:
        Plain data with tensors, on the CPU and without gradients; ``OrderedDict`` stays what it is,
        a namespace becomes a dict, and a path or device its text.

    Raises:
        FileError: Of the type ``error``; the file is damaged, or holds more than data.
    """
    size = require_file(path, error)
    with reading(path, error), path.open("rb") as stream:
        is_zip = stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        stream.seek(0)
        reader = PickleReader(path, error, size, TorchNames(), hint=_SAVE_TENSORS)
        if is_zip:
            return _ZipForm(stream, size).read(reader)
        return _LegacyForm(stream, size).read(reader)


def names_with_torch_files(path: Path, error: type[FileError]) -> TorchNames:
    """Make the names of a pickle that holds torch files, one for each storage.

    The pickle itself is no torch file: Python's own pickle writes tensors so. The files within hold
    no further ones.

    Args:
        path: The file, named in errors.
        error: Type of the error to raise.
    """
    storages: dict[bytes, Storage] = {}

    def load(content: Any) -> Storage:
        if not isinstance(content, bytes):
            raise UnsoundError("a tensor's storage is damaged")
        if content not in storages:
            form = _LegacyForm(io.BytesIO(content), len(content))
            reader = PickleReader(path, error, len(content), _StorageNames(), hint=_SAVE_TENSORS)
            storages[content] = form.read(reader)
        return storages[content]

    name = ("torch.storage", "_load_from_bytes")
    return TorchNames({name: Known(".".join(name), load)})


class _StorageNames(TorchNames):
    """Names of a torch file within a pickle, which is one storage."""

    leaves: tuple[type, ...] = (Storage,)


class _ZipForm:
    """An archive whose entries are stored as they are; `zipfile` verifies their checksums."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        try:
            self._archive = zipfile.ZipFile(stream)
        except UnicodeError:  # in the name of an entry
            raise UnsoundError("is a damaged zip archive") from None
        entries = self._archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names) or sum(each.file_size for each in entries) > size:
            raise UnsoundError("is a damaged zip archive")
        roots = [name.partition("/")[0] for name in names if name.partition("/")[2] == "data.pkl"]
        if len(roots) != 1:
            raise UnsoundError("is not a torch file: no data.pkl is in it")
        root = f"{roots[0]}/"
        self._entries = {
            entry.filename.removeprefix(root): entry
            for entry in entries
            if entry.filename.startswith(root)
        }
        self._storages: dict[str, Storage] = {}
        order = self._content("byteorder") if "byteorder" in self._entries else b"little"
        if order not in (b"little", b"big"):
            raise UnsoundError("its record of the byte order is damaged")
        self._swapped = order != sys.byteorder.encode()

    def read(self, reader: PickleReader) -> Any:
        reader.persistent = self._storage
        content = self._content("data.pkl")
        return reader.read(Window(io.BytesIO(content), len(content)))

    def _storage(self, identity: Any) -> Storage:
        kind, storage_type, key, _, num_elements = _parts(identity, 5)
        dtype = storage_dtype(storage_type)
        if kind != "storage" or not isinstance(key, str) or type(num_elements) is not int:
            raise UnsoundError("a tensor's storage is damaged")
        storage = self._storages.get(key)
        if storage is None:
            entry = self._entry(f"data/{key}")
            if num_elements * dtype.itemsize != entry.file_size:
                raise UnsoundError(
                    f"holds {entry.file_size:,} bytes where {num_elements:,} numbers should stand"
                )
            storage = Storage(dtype, num_elements)
            storage.fill(lambda memory: self._read_into(entry, memory), swapped=self._swapped)
            self._storages[key] = storage
        if storage.numbers.dtype != dtype or len(storage.numbers) != num_elements:
            raise UnsoundError("a tensor's storage is damaged")
        return storage

    def _content(self, name: str) -> bytes:
        content = bytearray(self._entry(name).file_size)
        self._read_into(self._entry(name), memoryview(content))
        return bytes(content)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self._entries.get(name)
        if entry is None:
            raise UnsoundError(f"lacks {name!r:.40}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise UnsoundError("is a compressed zip archive, which torch does not write")
        return entry

    def _read_into(self, entry: zipfile.ZipInfo, memory: memoryview) -> None:
        """Fill memory with an entry, to its end, where its checksum is verified."""
        place = 0
        with self._archive.open(entry) as stream:
            while piece := stream.read(_PIECE_BYTES):
                memory[place : place + len(piece)] = piece
                place += len(piece)
        if place != len(memory):
            raise UnsoundError("is cut short")


class _LegacyForm:
    """Five pickles (magic, protocol, machine, content, storages' keys), then the storages."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._size = stream, size
        self._storages: dict[Any, Storage] = {}
        self._num_bytes = 0

    def read(self, reader: PickleReader) -> Any:
        window = Window(self._stream, self._size)
        if self._stream.read(1) != b"\x80":
            raise UnsoundError("is not a torch file")
        self._stream.seek(-1, io.SEEK_CUR)
        if reader.read(window) != _LEGACY_MAGIC:
            raise UnsoundError("is not a torch file of plain data; nothing in it was run")
        if reader.read(window) != _LEGACY_PROTOCOL:
            raise UnsoundError("is of another protocol of torch than 1001")
        reader.read(window)  # sizes of C's types on the machine that wrote it
        reader.persistent = self._storage
        content = reader.read(window)
        reader.persistent = None
        keys = reader.read(window)
        if not isinstance(keys, list) or len(keys) != len(self._storages):
            raise UnsoundError("its list of storages is damaged")
        for key in keys:
            self._fill(self._storages.pop(key))
        if self._stream.tell() != self._size:
            raise UnsoundError("goes on behind its tensors")
        return content

    def _storage(self, identity: Any) -> Storage:
        """Make room for a storage; its bytes stand further behind."""
        kind, storage_type, key, _, num_elements, view = _parts(identity, 6)
        dtype = storage_dtype(storage_type)
        is_sound = isinstance(key, str) and type(num_elements) is int and num_elements >= 0
        if kind != "storage" or not is_sound or view is not None:
            raise UnsoundError("a tensor's storage is damaged")
        storage = self._storages.get(key)
        if storage is None:
            self._num_bytes += num_elements * dtype.itemsize
            if self._num_bytes > self._size:
                raise UnsoundError(f"is too short for {num_elements:,} numbers")
            storage = self._storages[key] = Storage(dtype, num_elements)
        if storage.numbers.dtype != dtype or len(storage.numbers) != num_elements:
            raise UnsoundError("a tensor's storage is damaged")
        return storage

    def _fill(self, storage: Storage) -> None:
        if int.from_bytes(self._stream.read(8), "little") != len(storage.numbers):
            raise UnsoundError("is cut short, or a storage is of another length than it says")
        storage.fill(self._read_into, swapped=sys.byteorder != "little")

    def _read_into(self, memory: memoryview) -> None:
        for begin in range(0, len(memory), _PIECE_BYTES):
            piece = memory[begin : begin + _PIECE_BYTES]
            if self._stream.readinto(piece) != len(piece):  # type: ignore[attr-defined]
                raise UnsoundError("is cut short")


def _parts(identity: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(identity, tuple) or len(identity) != count:
        raise UnsoundError("a tensor's storage is damaged")
    return identity
