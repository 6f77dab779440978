"""The index of an encoded archive: a row a slide, and the slides that failed.

``index.csv`` says of every slide that is done what it was made from, so that an archive can be
searched, and the rest of it encoded, without opening its files. Its bytes follow from the slides'
files alone, their times in the last column; they do not depend on the order of computation.
"""

from __future__ import annotations

import csv
import io
import re
import sqlite3
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from tcssa.errors import FileError, TableError
from tcssa.files import atomic
from tcssa.files.forwarding import remove
from tcssa.files.table import read_table, stream_table
from tcssa_runtimes.archive.slot_files import slide_features_path
from tcssa_runtimes.archive.stored_slots import EncodedFacts, Origin

_NEEDED = (
    "slide_id",
    "num_patches",
    "mass_entropy",
    "slots_in_use",
    "input_name",
    "input_hash",
    "model_sha256",
    "runtime",
)
COLUMNS = (
    *_NEEDED,
    "input_bytes",
    "input_mtime_ns",
    "budget",
    "um_per_coord",
    "has_assignments",
    "file_bytes",
    "file_mtime_ns",
)
"""The last seven are not in the index of earlier versions."""
CASE_COLUMNS = ("case_id", "slides", "num_slides", *_NEEDED[1:])
_MAKE_ROOM = "make room, or name another disk in the variable SQLITE_TMPDIR"
FAILED_COLUMNS = ("path", "reason", "what_to_do")


@dataclass(frozen=True)
class FailedSlide:
    """A slide that was not encoded."""

    path: Path
    reason: str
    hint: str | None


def write_index(path: Path, slides: Iterable[EncodedFacts]) -> None:
    """Write the index of encoded slides, atomically.

    Args:
        path: The table.
        slides: Facts of the slides, as their files state them.
    """
    rows = IndexRows()
    for facts in slides:
        rows.add(facts)
    rows.write(path)


def write_case_index(path: Path, cases: Iterable[tuple[EncodedFacts, Sequence[str]]]) -> None:
    """Write the index of patients, atomically.

    Args:
        path: The table.
        cases: Facts of each patient's file, and the slides that it is of.
    """
    in_order = sorted(cases, key=lambda case: case[0].path)
    rows = (
        [facts.name, "; ".join(of), len(of), *_row(facts)[1 : len(_NEEDED)]]
        for facts, of in in_order
    )
    atomic.write_csv(path, CASE_COLUMNS, rows)


def read_index(path: Path) -> list[dict[str, str]]:
    """Read an index that `write_index` wrote; each ``num_patches`` is checked to be a count.

    Raises:
        TableError: The table is damaged; all faults are listed with their lines.
    """
    table = read_table(path, needed=_NEEDED, delimiter=",", may_be_empty=True)
    faults = [fault for line, row in table.rows.items() for fault in _faults(line, row)]
    if faults:
        raise TableError(path, faults)
    return list(table.rows.values())


def _faults(line: int, row: Mapping[str, str]) -> list[str]:
    count = row["num_patches"]
    sound = re.fullmatch("[0-9]{1,18}", count)
    return [] if sound else [f"line {line}: num_patches {count!r} is no count"]


def each_indexed(out: Path) -> Iterator[EncodedFacts]:
    """Yield what the indexes of an archive, one or a shard each, say of its slides.

    A file that has another size or time than its row says is left out: it is to be opened.

    Args:
        out: The archive's folder.

    Raises:
        TableError: An index is damaged.
    """
    for path in sorted(out.glob("index*.csv")):
        for line, row in stream_table(path, needed=_NEEDED):
            if faults := _faults(line, row):
                raise TableError(path, faults)
            file = slide_features_path(out, row["slide_id"])
            try:
                if _stamp(file) == (int(row["file_bytes"]), int(row["file_mtime_ns"])):
                    yield _facts(file, row)
            except (KeyError, ValueError, OSError):  # of an earlier version, changed, or removed
                continue


def _facts(path: Path, row: Mapping[str, str]) -> EncodedFacts:
    """Return the facts in a row.

    Raises:
        KeyError: It is of an earlier version.
        ValueError: A number is none.
    """
    return EncodedFacts(
        path=path,
        name=row["slide_id"],
        num_patches=int(row["num_patches"]),
        mass_entropy=float(row["mass_entropy"]),
        slots_in_use=int(row["slots_in_use"]),
        runtime=intern(row["runtime"]),
        origin=Origin(
            intern(row["model_sha256"]),
            row["input_name"],
            int(row["input_bytes"]),
            int(row["input_mtime_ns"]),
            row["input_hash"],
        ),
        budget=row["budget"] or None,
        um_per_coord=float(row["um_per_coord"]) if row["um_per_coord"] else None,
        has_assignments=row["has_assignments"] == "1",
    )


class IndexRows:
    """Rows of an index that is to be written; a temporary file holds them, not the memory."""

    def __init__(self) -> None:
        # without a name SQLite removes it itself; threads add one at a time
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.execute("CREATE TABLE rows (name TEXT PRIMARY KEY, place TEXT, line TEXT)")
        weakref.finalize(self, self._rows.close)

    def __len__(self) -> int:
        return int(self._rows.execute("SELECT count(*) FROM rows").fetchone()[0])

    def __contains__(self, name: str) -> bool:
        found = self._rows.execute("SELECT 1 FROM rows WHERE name = ?", [name])
        return found.fetchone() is not None

    def add(self, facts: EncodedFacts) -> bool:
        """Add the row of a slide; tell whether its file is still there, else none is added.

        Raises:
            FileError: The disk of temporary files is full.
        """
        line = io.StringIO()
        try:
            csv.writer(line, lineterminator="").writerow(_row(facts))
        except FileNotFoundError:  # another call removed it, such as the part that it is in
            return False
        row = (facts.name, facts.path.name, line.getvalue())
        try:
            self._rows.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", row)
        except sqlite3.OperationalError as fault:
            raise FileError("SQLite's temporary file", str(fault), hint=_MAKE_ROOM) from None
        return True

    def facts(self, out: Path) -> dict[str, EncodedFacts]:
        """Return the facts of slides that have files of their own, by name.

        Args:
            out: The archive's folder.
        """
        rows = csv.DictReader(self._lines(), COLUMNS)
        return {
            row["slide_id"]: _facts(slide_features_path(out, row["slide_id"]), row) for row in rows
        }

    def write(self, path: Path) -> None:
        """Write the index, atomically, in the order of the files."""
        with (
            atomic.replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            csv.writer(stream, lineterminator="\n").writerow(COLUMNS)
            stream.writelines(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        """Yield the rows in the order of the files, of one part in that of their names."""
        rows = self._rows.execute("SELECT line FROM rows ORDER BY place, name")
        return (line for (line,) in rows)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def write_failures(
    path: Path, failed: Sequence[FailedSlide], others: Collection[Path] = ()
) -> None:
    """Write the table of slides that failed, or remove it where there are none.

    Args:
        path: The table.
        failed: The slides, in any order.
        others: Slides that another process had; what it wrote of them stays.

    Raises:
        TableError: The table that is there is damaged.
    """
    rows = [[str(slide.path), slide.reason, slide.hint or ""] for slide in failed]
    if others and path.exists():
        kept = set(map(str, others))
        table = read_table(path, needed=FAILED_COLUMNS, delimiter=",", multiline=True)
        there = ([row[name] for name in FAILED_COLUMNS] for row in table.rows.values())
        rows += [row for row in there if row[0] in kept]
    if rows:
        atomic.write_csv(path, FAILED_COLUMNS, sorted(rows))
    else:
        remove(path)


def _row(slide: EncodedFacts) -> list[object]:
    return [
        slide.name,
        slide.num_patches,
        f"{slide.mass_entropy:.6f}",
        slide.slots_in_use,
        slide.origin.input_name,
        slide.origin.input_hash,
        slide.origin.model_sha256,
        slide.runtime,
        slide.origin.input_bytes,
        slide.origin.input_mtime_ns,
        slide.budget,
        slide.um_per_coord,
        int(slide.has_assignments),
        *_stamp(slide.path),
    ]
