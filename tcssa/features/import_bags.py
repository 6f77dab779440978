"""Bags from one table: the classic multiple-instance benchmarks.

MUSK1, UCSB and their kin come as one CSV without a header, a row an instance: the bag's label
in column 0, the bag's number in column 1, features behind. This makes a cohort of it: one
feature file a bag, and a label table.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa import __version__, atomic
from tcssa.errors import TableError


@dataclass(frozen=True)
class ImportedBags:
    """What an import made."""

    labels: Path
    features: Path
    num_bags: int
    num_instances: int
    feature_dim: int


def import_bags(table: Path, out: Path, *, standardise: bool = False) -> ImportedBags:
    """Turn a table of instances into feature files and a label table.

    Args:
        table: CSV, plain or gzipped, no header: label, bag, features.
        out: Gets ``labels.csv`` and ``features/bag-<n>.h5``.
        standardise: Scale every feature to mean 0 and deviation 1 over all instances. Labels
            have no part in it.

    Raises:
        TableError: The table cannot be read, or a bag has two labels.
    """
    rows = _read(table)
    labels, bags, features = rows[:, 0], rows[:, 1], rows[:, 2:]
    if standardise:
        deviation = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    faults = [
        f"bag {bag:g} has several labels"
        for bag in np.unique(bags)
        if len(np.unique(labels[bags == bag])) > 1
    ]
    faults += [f"bag {bag:g} is no whole number" for bag in np.unique(bags[bags % 1 != 0])]
    if faults:
        raise TableError(table, faults)
    listed: list[list[str]] = []
    width = len(f"{bags.max():g}")
    for bag in np.unique(bags):
        slide_id = f"bag-{int(bag):0{width}d}"
        _write(out / "features" / f"{slide_id}.h5", features[bags == bag], table.name)
        listed.append(
            [slide_id, slide_id, np.format_float_positional(labels[bags == bag][0], trim="-")]
        )
    atomic.write_csv(out / "labels.csv", ["case_id", "slide_id", "label"], listed)
    return ImportedBags(
        out / "labels.csv",
        out / "features",
        len(np.unique(bags)),
        len(features),
        features.shape[1],
    )


def _read(table: Path) -> NDArray[np.float64]:
    try:
        with _open(table) as stream:
            rows = np.loadtxt(stream, delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError, EOFError, UnicodeDecodeError) as error:
        raise TableError(
            table,
            [f"is no table of numbers ({error})"],
            hint="a row an instance: label,bag,features…, without a header",
        ) from None
    if rows.shape[1] < 3:
        raise TableError(table, [f"needs a label, a bag and features, has {rows.shape[1]} columns"])
    if not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows).all(axis=1))[0, 0])
        raise TableError(table, [f"line {row + 1} holds a value that is not finite"])
    return rows


def _open(table: Path) -> IO[str]:
    if table.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(table, "rb"), encoding="ascii")
    return table.open(encoding="ascii")


def _write(path: Path, features: NDArray[np.float64], source: str) -> None:
    content = io.BytesIO()  # HDF5 must never meet a full disk: it crashes the process
    with h5py.File(content, "w") as file:
        dataset = file.create_dataset("features", data=features.astype(np.float32))
        dataset.attrs["encoder"] = source
        dataset.attrs["tcssa_version"] = __version__
        dataset.attrs["complete"] = True
    atomic.write_bytes(path, content.getvalue())
