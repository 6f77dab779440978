"""A file under HDF5 whose writes do not fail.

HDF5 cannot close a file that it could not flush: the process is left with objects that crash it
when they are collected, and the deleted file keeps its space. So a failed write is kept from
it. What the disk does not take is remembered here until the file is closed, which is
shortly after: the writer looks at ``error`` after every batch.
"""

from __future__ import annotations

import io
from pathlib import Path


class GuardedFile:
    """What `h5py.File` needs of a file object.

    Args:
        path: The file to make.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        """The first write that failed."""
        self._file = path.open("w+b", buffering=0)
        self._position = 0
        self._size = 0
        self._kept: list[tuple[int, bytes]] = []

    def write(self, data: bytes | memoryview) -> int:
        """Write, or remember what cannot be written."""
        content = bytes(data)
        if self.error is None:
            try:
                self._write_all(content)
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._kept.append((self._position, content))
        self._position += len(content)
        self._size = max(self._size, self._position)
        return len(content)

    def readinto(self, buffer: memoryview) -> int:
        """Read what was written, whether or not the disk took it."""
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        self._file.seek(self._position)
        self._file.readinto(view)
        begin, end = self._position, self._position + len(view)
        for offset, content in self._kept:
            left, right = max(offset, begin), min(offset + len(content), end)
            if left < right:
                view[left - begin : right - begin] = content[left - offset : right - offset]
        self._position = end
        return len(view)

    def read(self, size: int) -> bytes:
        """As `readinto`; h5py takes for a file what has it."""
        content = bytearray(min(size, max(0, self._size - self._position)))
        self.readinto(memoryview(content))
        return bytes(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the begin, from here or from the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Where the next read or write begins."""
        return self._position

    def truncate(self, size: int) -> int:
        """Give the file this size."""
        self._size = size
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Nothing to do: the file has no buffer, and is synced before it gets its name."""

    def close(self) -> None:
        """Close the file."""
        self._kept.clear()
        self._file.close()

    def check(self) -> None:
        """Raise the error of the first write that failed."""
        if self.error is not None:
            raise self.error

    def _write_all(self, content: bytes) -> None:
        self._file.seek(self._position)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]
