"""An archive as Parquet: parts ``slide_features_tcssa/part-….parquet``, a row a slide.

A part is written under a temporary name, a row group of 64 slides at a time, and gets its name when
it is whole: there is no file and no flush to the disk for each slide. Arrays are lists of fixed
size, their shapes under ``shapes`` in the schema's metadata (key ``tcssa``, JSON) beside the model.
``attributes`` (JSON) repeats what HDF5 files say, so that `convert` can write these.
"""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, UploadError
from tcssa.features.tables import patient_of, site_of
from tcssa.files import atomic
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.forwarding import content, remove
from tcssa.files.listing import each_named
from tcssa.optional import require
from tcssa_runtimes.archive.slot_files import FOLDER, slide_features_path
from tcssa_runtimes.archive.stored_slots import ARRAYS, EncodedFacts, Origin, StoredSlots, are_sums

EXTRA = "parquet"
_KEY = b"tcssa"
_FORMAT_VERSION = 1
_GROUP_ROWS = 64
_PART_ROWS = 512
_PART_S = 300.0
"""A part is closed after so many slides or seconds, which is what a kill costs at most."""
_PLACES = ("centroids", "spread")
_TEXT = (
    "slide_id", "case_id", "encoder", "model_sha256", "input_name", "input_hash", "runtime",
    "budget", "attributes",
)  # fmt: skip
_COUNTS = ("num_patches", "slots_in_use", "input_bytes", "input_mtime_ns")
_NUMBERS = ("mass_entropy", "um_per_coord")


def find_parts(out: Path) -> list[Path]:
    """Return the whole parts of an archive; none where it is of HDF5 files.

    Args:
        out: The folder above ``slide_features_tcssa``.
    """
    return sorted(each_named(out / FOLDER, "part-", ".parquet"))


def row_of(slots: StoredSlots) -> dict[str, Any]:
    """Return the cells of a slide by column; arrays are flat, and those it lacks are not there."""
    facts = slots.facts
    return {
        "slide_id": facts.name,
        "case_id": patient_of(facts.name) if site_of(facts.name) else None,
        "num_patches": facts.num_patches,
        "mass_entropy": facts.mass_entropy,
        "slots_in_use": facts.slots_in_use,
        "encoder": slots.attributes["features"].get("encoder"),
        **asdict(facts.origin),
        "runtime": facts.runtime,
        "budget": facts.budget,
        "um_per_coord": facts.um_per_coord,
        "attributes": json.dumps(slots.attributes, default=_plain),
        **{_column(name): values.ravel() for name, values in slots.arrays.items()},
    }


def _raise(error: UploadError) -> None:
    raise error


class SlotParts:
    """The parts that a process writes; use it as a context manager, which completes the last ones.

    Threads may add slides at once. After an error what is not whole is removed.

    Args:
        folder: The folder ``slide_features_tcssa``.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[str, _Part] = {}
        require("pyarrow.parquet", EXTRA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for part in self._open.values():
            if kind is None:
                part.complete()
            else:
                part.files.__exit__(kind, error, trace)

    def add(
        self,
        slots: StoredSlots,
        tell: Callable[[EncodedFacts], None],
        fail: Callable[[UploadError], None] = _raise,
    ) -> None:
        """Add a slide to a part of its model and shapes.

        Args:
            slots: The slide.
            tell: Called with its facts when the part is whole.
            fail: Called in place of it where the part is whole here, and no store takes it.
        """
        facts_of_all = _metadata(slots)
        key = f"{slots.slots.dtype} {facts_of_all}"
        with self._lock:
            if key not in self._open:
                self._open[key] = _Part.begin(self._folder, _schema(slots, facts_of_all))
            part = self._open[key]
            part.add(slots, tell, fail)
            if part.is_full():
                self._open.pop(key).complete()


_Told = tuple[EncodedFacts, Callable[[EncodedFacts], None], Callable[[UploadError], None]]
"""Facts of a slide, and what is called when its part is whole, or is lost."""


@dataclass
class _Part:
    """A part that is being written."""

    path: Path
    schema: Any
    writer: Any
    files: ExitStack
    begun_at: float = field(default_factory=time.monotonic)
    rows: list[dict[str, Any]] = field(default_factory=list)
    told: list[_Told] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, schema: Any) -> Self:
        path, files = folder / f"part-{uuid.uuid4().hex[:12]}.parquet", ExitStack()
        temporary = files.enter_context(atomic.replacing(path))
        return cls(path, schema, files.enter_context(_writer(temporary, schema)), files)

    def add(
        self,
        slots: StoredSlots,
        tell: Callable[[EncodedFacts], None],
        fail: Callable[[UploadError], None],
    ) -> None:
        self.rows.append(row_of(slots))
        self.told.append((replace(slots.facts, path=self.path), tell, fail))
        if len(self.rows) == _GROUP_ROWS:
            self._flush()

    def is_full(self) -> bool:
        return len(self.told) >= _PART_ROWS or time.monotonic() - self.begun_at > _PART_S

    def complete(self) -> None:
        try:
            with self.files:
                self._flush()
        except UploadError as error:
            for _, _, fail in self.told:
                fail(error)
            return
        for facts, tell, _ in self.told:
            tell(facts)

    def _flush(self) -> None:
        arrow = require("pyarrow", EXTRA)
        columns = [
            arrow.array([row.get(column.name) for row in self.rows], column.type)
            for column in self.schema
        ]
        if self.rows:
            self.writer.write_table(arrow.Table.from_arrays(columns, schema=self.schema))
        self.rows = []


def read_part_facts(path: Path) -> list[EncodedFacts]:
    """Read the facts of a part's slides, in their order, without their slots.

    Raises:
        FeatureFileError: The part is broken, or not one of ours.
        MissingExtraError: pyarrow is not installed.
    """
    with reading(path, FeatureFileError), _opened(path) as part:
        columns = [name for name in (*_TEXT, *_COUNTS, *_NUMBERS) if name != "attributes"]
        return [_facts(path, row) for row in part.read(columns).to_pylist()]


def read_part(path: Path, wanted: int | None = None) -> Iterator[StoredSlots]:
    """Read the slides of a part, a row group at a time.

    Args:
        path: The part.
        wanted: The row of the only slide to read; None reads all.

    Raises:
        FeatureFileError: The part is broken, not one of ours, or its values make no sense.
        MissingExtraError: pyarrow is not installed.
    """
    with reading(path, FeatureFileError), _opened(path) as part:
        shapes = json.loads(part.schema_arrow.metadata[_KEY])["shapes"]
        first = 0
        for group in range(part.num_row_groups):
            num_rows = part.metadata.row_group(group).num_rows
            if wanted is None or first <= wanted < first + num_rows:
                table = part.read_row_group(group)
                if wanted is not None:
                    table = table.slice(wanted - first, 1)
                yield from _slides(path, table, shapes)
            first += num_rows


def drop_slides(out: Path, names: Iterable[str]) -> int:
    """Take slides out of an archive's parts, and all but one row of any that is there twice.

    Args:
        out: The folder above ``slide_features_tcssa``.
        names: The slides to take out.

    Returns:
        How many rows were taken out.

    Raises:
        FeatureFileError: A part is broken, or not one of ours.
    """
    parquet, seen, num_dropped = require("pyarrow.parquet", EXTRA), set(names), 0
    for path in find_parts(out):
        stays = []
        for facts in read_part_facts(path):
            stays.append(facts.name not in seen)
            seen.add(facts.name)
        num_dropped += stays.count(False)
        if not any(stays):
            remove(path)
        elif not all(stays):
            with reading(path, FeatureFileError):
                table = parquet.read_table(content(path)).filter(stays)
            with atomic.replacing(path) as temporary, _writer(temporary, table.schema) as writer:
                writer.write_table(table, row_group_size=_GROUP_ROWS)
    return num_dropped


def _slides(path: Path, table: Any, shapes: dict[str, list[int]]) -> Iterator[StoredSlots]:
    """Yield the slides of a row group."""
    texts = table.select([*_TEXT, *_COUNTS, *_NUMBERS]).to_pylist()
    columns = {name: table[_column(name)].combine_chunks() for name in shapes}
    for place, row in enumerate(texts):
        facts = _facts(path, row)
        arrays: dict[str, NDArray[Any]] = {
            name: column[place].values.to_numpy(zero_copy_only=False).reshape(shapes[name])
            for name, column in columns.items()
            if column[place].is_valid
        }
        if not are_sums(arrays["mass"], arrays["features"]):
            raise UnsoundError(f"the slots or masses of {facts.name} make no sense")
        yield StoredSlots(facts, arrays, json.loads(row["attributes"]))


def _facts(path: Path, row: dict[str, Any]) -> EncodedFacts:
    origin = Origin(
        row["model_sha256"],
        row["input_name"],
        row["input_bytes"],
        row["input_mtime_ns"],
        row["input_hash"],
    )
    return EncodedFacts(
        path=path,
        name=row["slide_id"],
        num_patches=row["num_patches"],
        mass_entropy=row["mass_entropy"],
        slots_in_use=row["slots_in_use"],
        runtime=row["runtime"],
        origin=origin,
        budget=row["budget"],
        um_per_coord=row["um_per_coord"],
    )


def hdf5_of(slots: StoredSlots, out: Path) -> StoredSlots:
    """Return a slide of a part as its HDF5 file in another archive would hold it.

    Args:
        slots: The slide.
        out: The folder above that archive's ``slide_features_tcssa``.
    """
    path = slide_features_path(out, slots.facts.name)
    return replace(slots, facts=replace(slots.facts, path=path))


def _opened(path: Path) -> Any:
    part = require("pyarrow.parquet", EXTRA).ParquetFile(content(path))
    if _KEY not in (part.schema_arrow.metadata or {}):
        part.close()
        raise UnsoundError("is no part of an encoded archive")
    return part


def _writer(path: Path, schema: Any) -> Any:
    repeated = [name for name in _TEXT if name not in ("slide_id", "input_name", "input_hash")]
    return require("pyarrow.parquet", EXTRA).ParquetWriter(
        path, schema, compression="zstd", use_dictionary=repeated
    )


def _schema(slots: StoredSlots, facts_of_all: str) -> Any:
    arrow = require("pyarrow", EXTRA)
    columns = {name: arrow.string() for name in _TEXT[:2]}
    columns |= dict.fromkeys(_COUNTS, arrow.int64()) | dict.fromkeys(_NUMBERS, arrow.float64())
    columns |= {name: arrow.string() for name in _TEXT[2:]}
    for name, shape in json.loads(facts_of_all)["shapes"].items():
        there = slots.arrays.get(name)
        dtype = arrow.from_numpy_dtype(np.float64 if there is None else there.dtype)
        columns[_column(name)] = arrow.list_(dtype, math.prod(shape))
    return arrow.schema(columns.items(), metadata={_KEY: facts_of_all})


def _metadata(slots: StoredSlots) -> str:
    """Return what is the same for all slides of a part, as JSON."""
    shapes = {name: list(slots.arrays[name].shape) for name in ARRAYS if name in slots.arrays}
    for group in ("", "unfolded/"):  # a slide without coordinates fits beside others
        if f"{group}mass" in shapes:
            shapes |= {f"{group}{name}": [*shapes[f"{group}mass"], 2] for name in _PLACES}
    num_slots, feature_dim = slots.slots.shape
    facts = {
        "format_version": _FORMAT_VERSION,
        "model_sha256": slots.facts.origin.model_sha256,
        "num_slots": num_slots,
        "feature_dim": feature_dim,
        "budget": slots.facts.budget,
        "classes": slots.attributes.get("logits", {}).get("classes"),
        "shapes": {name: shapes[name] for name in ARRAYS if name in shapes},
    }
    return json.dumps(facts, default=_plain)


def _column(name: str) -> str:
    """Return the column of a dataset: ``slots`` are the ``features`` of an HDF5 file."""
    return "slots" if name == "features" else name.replace("/", "_")


def _plain(value: Any) -> Any:
    return value.tolist()
