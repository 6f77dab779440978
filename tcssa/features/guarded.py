"""A file under HDF5 whose writes do not fail.

HDF5 cannot close a file that it could not flush: the process is left with objects that crash it
when they are collected, and the deleted file keeps its space. So failed writes are hidden from
HDF5. Data that cannot be written are kept in memory here until the file is closed, which is
shortly after: the writer checks ``error`` after every batch.
"""

from __future__ import annotations

import io
from pathlib import Path


class GuardedFile:
    """A file object for `h5py.File` that hides failed writes.

    Args:
        path: The file to create.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        """The error of the first failed write."""
        self._file = path.open("w+b", buffering=0)
        self._position = 0
        self._size = 0
        self._kept: list[tuple[int, bytes]] = []

    def write(self, data: bytes | memoryview) -> int:
        """Write data, or keep them in memory if they cannot be written."""
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
        """Read written data, whether or not they reached the disk."""
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
        """Read like `readinto`; h5py accepts only objects with this method as files."""
        content = bytearray(min(size, max(0, self._size - self._position)))
        self.readinto(memoryview(content))
        return bytes(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position of the next read or write.

        Args:
            offset: Bytes from the place that ``whence`` names.
            whence: ``io.SEEK_SET`` (the start), ``io.SEEK_CUR`` (here) or ``io.SEEK_END``.

        Returns:
            The new position, in bytes from the start.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position of the next read or write."""
        return self._position

    def truncate(self, size: int) -> int:
        """Set the size of the file, in bytes."""
        self._size = size
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Do nothing: the file has no buffer, and is synced before it gets its name."""

    def close(self) -> None:
        """Close the file."""
        self._kept.clear()
        self._file.close()

    def check(self) -> None:
        """Raise the error of the first failed write, if there was one."""
        if self.error is not None:
            raise self.error

    def _write_all(self, content: bytes) -> None:
        self._file.seek(self._position)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]
