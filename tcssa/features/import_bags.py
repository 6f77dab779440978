"""Bags from one table: the classic multiple-instance benchmarks.

MUSK1, UCSB and similar data sets come as one CSV without a header, one row per instance: the bag's
label in column 0, the bag's number in column 1, then the features. This module turns it into a
cohort: one feature file per bag, and a label table.
"""

from __future__ import annotations

import gzip
import io
from array import array
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import TableError
from tcssa.files import atomic
from tcssa.files.boundary import reading, require_file
from tcssa.files.limits import UNPACKED_BYTES
from tcssa.files.table import cells_by_line, numbers
from tcssa.files.text import decoded, lines_of, read_text
from tcssa.version import __version__

_MOST = 2**53
"""Largest bag number: beyond it a float64 does not hold every whole number."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ImportedBags:
    """The files and sizes of an imported cohort."""

    labels: Path
    features: Path
    num_bags: int
    num_instances: int
    feature_dim: int


def import_bags(table: Path, out: Path, *, standardise: bool = False) -> ImportedBags:
    """Turn a table of instances into feature files and a label table.

    Args:
        table: CSV, plain or gzipped, without a header: label, bag, features.
        out: Folder that gets ``labels.csv`` and ``features/bag-<n>.h5``.
        standardise: Scale every feature to mean 0 and deviation 1 over all instances, without
            use of the labels.

    Returns:
        The files written, and the numbers of bags, instances and features.

    Raises:
        TableError: The table cannot be read, a bag has several labels, or its number is not whole.
    """
    rows = _read(table)
    labels, features = rows[:, 0], rows[:, 2:]
    if standardise:
        deviation = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    groups = _groups(rows[:, 1])
    faults = [
        f"bag {bag:g} has several labels"
        for bag, members in groups.items()
        if (labels[members] != labels[members[0]]).any()
    ]
    faults += [f"bag {bag:g} is no whole number" for bag in groups if bag % 1 or abs(bag) > _MOST]
    if faults:
        raise TableError(table, faults)
    listed: list[list[str]] = []
    width = len(f"{max(groups):.0f}")
    for bag, members in groups.items():
        slide_id = f"bag-{int(bag):0{width}d}"
        _write(out / "features" / f"{slide_id}.h5", features[members], table.name)
        label = np.format_float_positional(labels[members[0]], trim="-")
        listed.append([slide_id, slide_id, label])
    atomic.write_csv(out / "labels.csv", ["case_id", "slide_id", "label"], listed)
    return ImportedBags(
        out / "labels.csv", out / "features", len(groups), len(features), features.shape[1]
    )


def _groups(bags: NDArray[np.float64]) -> dict[float, NDArray[np.intp]]:
    """Return the rows of each bag in the table's order, with bags in ascending order."""
    order = np.argsort(bags, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(bags[order])) + 1)
    return {float(bags[part[0]]): part for part in parts}


def _read(table: Path) -> NDArray[np.float64]:
    """Read the table's numbers and check that all are finite in float32."""
    values = array("d")  # the numbers of a list take four times the memory
    read: list[int] = []
    width = None
    for line, cells in cells_by_line(lines_of(_text(table)), table, TableError):
        width = width or len(cells)
        if len(cells) != width:
            raise TableError(table, f"line {line} has {len(cells)} cells, the first row {width}")
        try:
            row = numbers(cells)
        except ValueError as fault:
            raise TableError(
                table,
                f"is no table of numbers (line {line}: {fault})",
                hint="a row an instance: label,bag,features…, without a header",
            ) from None
        values.extend(row)
        read.append(line)
    if width is None:
        raise TableError(table, "the table is empty")
    if width < 3:
        raise TableError(table, f"needs a label, a bag and features, has {width} columns")
    rows = np.frombuffer(values, dtype=np.float64).reshape(-1, width)
    odd = ~(np.abs(rows) <= _LARGEST).all(axis=1)
    if odd.any():
        line = read[int(odd.argmax())]
        raise TableError(table, f"line {line} holds a value that is not finite in float32")
    return rows


def _text(table: Path) -> str:
    if table.suffix.lower() != ".gz":
        return read_text(table, TableError, table=True)
    earned = 20 * require_file(table, TableError)  # columns of digits pack ten to one at most
    most = UNPACKED_BYTES.value(earned=earned)
    with reading(table, TableError), gzip.open(table, "rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        hint = f"if the file is sound, unpack it, or set {UNPACKED_BYTES.variable} to its full size"
        raise TableError(table, f"unpacks to more than {most:,} bytes of text", hint=hint)
    return decoded(content, table, TableError, table=True)


def _write(path: Path, features: NDArray[np.float64], source: str) -> None:
    content = io.BytesIO()  # HDF5 must never meet a full disk: it crashes the process
    with h5py.File(content, "w") as file:
        dataset = file.create_dataset("features", data=features.astype(np.float32))
        dataset.attrs["encoder"] = source
        dataset.attrs["tcssa_version"] = __version__
        dataset.attrs["complete"] = True
    atomic.write_bytes(path, content.getvalue())
