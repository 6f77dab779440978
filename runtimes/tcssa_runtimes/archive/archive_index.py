"""The index of an encoded archive: a row a slide, and the slides that failed.

``index.csv`` says of every slide that is done what it was made from, so that an archive can be
searched without opening its files. Its bytes follow from the slides' files alone; they depend
neither on the time nor on the order of computation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import TableError
from tcssa.files import atomic
from tcssa.files.table import read_table
from tcssa_runtimes.archive.slot_files import EncodedFacts

COLUMNS = (
    "slide_id",
    "num_patches",
    "mass_entropy",
    "slots_in_use",
    "input_name",
    "input_hash",
    "model_sha256",
    "runtime",
)
CASE_COLUMNS = ("case_id", "slides", "num_slides", *COLUMNS[1:])
FAILED_COLUMNS = ("path", "reason", "what_to_do")


@dataclass(frozen=True)
class FailedSlide:
    """A slide that was not encoded."""

    path: Path
    reason: str
    hint: str | None


def mass_entropy(mass: NDArray[np.float32]) -> float:
    """Compute the entropy of a slide's distribution of mass over its slots, in nats.

    It is 0 where one slot has all the mass, and log K where all slots have the same.
    """
    share = mass.astype(np.float64)[mass > 0]
    share = share / share.sum() if share.size else share
    return float(-(share * np.log(share)).sum() + 0.0)


def write_index(path: Path, slides: Iterable[EncodedFacts]) -> None:
    """Write the index of encoded slides, atomically.

    Args:
        path: The table.
        slides: Facts of the slides, as their files state them.
    """
    in_order = sorted(slides, key=lambda slide: slide.path)
    atomic.write_csv(path, COLUMNS, map(_row, in_order))


def write_case_index(path: Path, cases: Iterable[tuple[EncodedFacts, Sequence[str]]]) -> None:
    """Write the index of patients, atomically.

    Args:
        path: The table.
        cases: Facts of each patient's file, and the slides that it is of.
    """
    in_order = sorted(cases, key=lambda case: case[0].path)
    rows = ([facts.name, "; ".join(of), len(of), *_row(facts)[1:]] for facts, of in in_order)
    atomic.write_csv(path, CASE_COLUMNS, rows)


def read_index(path: Path) -> list[dict[str, str]]:
    """Read an index that `write_index` wrote; each ``num_patches`` is checked to be a count.

    Raises:
        TableError: The table is damaged; all faults are listed with their lines.
    """
    table = read_table(path, needed=COLUMNS, delimiter=",", may_be_empty=True)
    faults = [
        f"line {line}: num_patches {row['num_patches']!r} is no count"
        for line, row in table.rows.items()
        if not re.fullmatch("[0-9]{1,18}", row["num_patches"])
    ]
    if faults:
        raise TableError(path, faults)
    return list(table.rows.values())


def write_failures(path: Path, failed: Sequence[FailedSlide]) -> None:
    """Write the table of slides that failed, or remove it where there are none.

    Args:
        path: The table.
        failed: The slides, in any order.
    """
    if not failed:
        path.unlink(missing_ok=True)
        return
    rows = sorted([str(slide.path), slide.reason, slide.hint or ""] for slide in failed)
    atomic.write_csv(path, FAILED_COLUMNS, rows)


def _row(slide: EncodedFacts) -> list[object]:
    return [
        slide.name,
        slide.num_patches,
        f"{mass_entropy(slide.mass):.6f}",
        int((slide.mass > 0).sum()),
        slide.origin.input_name,
        slide.origin.input_hash,
        slide.origin.model_sha256,
        slide.runtime,
    ]
