"""Identification of the toolkit's files and folders, with their facts, without running anything.

Each kind has a function that answers None where the path is something else; the first answer
counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcssa.errors import MissingDataError, UsageError

Facts = dict[str, Any]


@dataclass(frozen=True)
class Inspected:
    """The kind of a path, and the facts about it."""

    path: Path
    kind: str
    facts: Facts
    """Facts by name: a number, text, list or dict."""
    tables: dict[str, list[Facts]] = field(default_factory=dict)
    """Rows of facts that belong together, by title."""
    next: str | None = None
    """A command to continue with."""


def inspect(path: Path) -> Inspected:
    """Find out what a path is.

    Raises:
        MissingDataError: The path does not exist.
        UsageError: The path is not of a kind that the toolkit knows.
        FileError: The path is of a known kind, but broken.
    """
    from tcssa.features import BagRef

    if not BagRef.parse(path).path.exists():
        raise MissingDataError(f"{path}: there is no such file or folder")
    for kind in _KINDS:
        found = kind(path)
        if found is not None:
            return found
    raise UsageError(
        f"{path} is nothing that tcssa knows",
        hint="known are artefacts, runs, checkpoints, projectors, feature files and folders of "
        "them, encoded slides, and what predict and heatmap write",
    )


def _artefact(path: Path) -> Inspected | None:
    from tcssa.artefact import Artefact, is_artefact

    if not is_artefact(path):
        return None
    artefact = Artefact.read(path)
    facts: Facts = artefact.model_dump(exclude={"models", "parity", "schema_version"})
    facts = {name: value for name, value in facts.items() if value not in (None, [], {})}
    facts["sha256"] = artefact.sha256
    facts["parity"] = artefact.parity.status
    facts["parity_cases"] = len(artefact.parity.rows)
    if artefact.parity.rows:
        facts["parity_share_of_tolerance"] = max(
            row.share_of_tolerance for row in artefact.parity.rows
        )
    tensors = [
        {
            "graph": graph,
            "": side,
            "tensor": tensor.name,
            "type": tensor.dtype,
            "shape": _shape(tensor.shape),
        }
        for graph, model in artefact.models.items()
        for side, specs in (("in", model.inputs), ("out", model.outputs))
        for tensor in specs
    ]
    files = [
        {
            "file": model.file,
            "MB": (path / model.file).stat().st_size / 1e6,
            **model.build,
        }
        for model in artefact.models.values()
    ]
    return Inspected(
        path,
        f"artefact: {artefact.what}, {artefact.graph}, for {artefact.format}",
        facts,
        {"Tensors": tensors, "Files": files},
        f"tcssa predict {path} SLIDES --out PREDICTED"
        if artefact.what == "classifier"
        else f"tcssa encode FEATURES --model {path} --out ENCODED",
    )


def _run(path: Path) -> Inspected | None:
    from tcssa.run import CHECKPOINT_FILE, RUN_FILE, read_run

    if path.is_dir() and (path / CHECKPOINT_FILE).is_file() and not (path / RUN_FILE).is_file():
        return _checkpoint(path / CHECKPOINT_FILE)
    if not (path / RUN_FILE).is_file():
        return None
    content = read_run(path)
    kind = str(content.pop("kind", "run"))
    facts = _flat(content)
    following = f"tcssa {kind} …, the same command again" if not content.get("complete") else None
    if kind == "train-mil":
        following = following or f"tcssa export {path} --out ARTEFACT"
    if kind == "train-vqa":
        facts |= _vqa_facts(path)
        following = following or f"tcssa ask {path} --features S.h5 'question'"
    return Inspected(path, f"run of {kind}", facts, next=following)


def _vqa_facts(path: Path) -> Facts:
    from tcssa.vqa.model.run_file import read_vqa
    from tcssa.vqa.settings import VQA_FILE

    if not (path / VQA_FILE).is_file():  # it is not finished
        return {}
    dumped: Facts = read_vqa(path).model_dump()
    files = dumped.pop("files", None)
    return _flat(dumped) | ({"files": len(files)} if files else {})


def _checkpoint(path: Path) -> Inspected | None:
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    from tcssa.compressor.checkpoint import read_tensors

    tensors, facts = read_tensors(path)
    known = {name for name in ("compressor", "classifier", "projector", "model") if name in facts}
    kind = f"checkpoint: {', '.join(sorted(known))}" if known else "checkpoint"
    numbers = {"parameters": sum(tensor.numel() for tensor in tensors.values())}
    rows = [
        {"tensor": name, "shape": _shape(list(tensor.shape)), "type": str(tensor.dtype)[6:]}
        for name, tensor in sorted(tensors.items())
    ]
    return Inspected(path, kind, {**_flat(facts), **numbers}, {"Tensors": rows})


def _encoded_slide(path: Path) -> Inspected | None:
    from tcssa.errors import FeatureFileError
    from tcssa.files.hdf5 import attributes, find_object, hdf5_file, numbers
    from tcssa_runtimes.archive.slot_files import read_facts
    from tcssa_runtimes.archive.stored_slots import mass_entropy

    if path.suffix != ".h5" or path.is_dir() or read_facts(path) is None:
        return None
    with hdf5_file(path, FeatureFileError) as file:
        facts = attributes(numbers(file, "features"))
        mass = numbers(file, "mass")[:]
        rows = [
            {
                "dataset": name,
                "shape": _shape(list(dataset.shape)),
                "type": str(dataset.dtype),
            }
            for name in file
            if (dataset := find_object(file, name)) is not None
        ]
    facts["slots_in_use"] = int((mass > 0).sum())
    facts["mass_entropy"] = mass_entropy(mass)
    facts["mass_entropy_of_equal_slots"] = math.log(len(mass))
    return Inspected(path, "encoded slide", facts, {"Datasets": rows})


def _encoded_archive(path: Path) -> Inspected | None:
    from tcssa.files.table import read_table
    from tcssa_runtimes.archive.archive_index import read_index
    from tcssa_runtimes.archive.slot_files import FOLDER
    from tcssa_runtimes.archive.slot_parts import find_parts

    tables = sorted(path.glob("index*.csv")) if (path / FOLDER).is_dir() else []
    if not tables:
        return None
    rows = [row for table in tables for row in read_index(table)]
    failed = [
        read_table(table, delimiter=",", multiline=True, may_be_empty=True)
        for table in path.glob("failed*.csv")
    ]
    facts: Facts = {
        "slides": len(rows),
        "failed": sum(len(table.rows) for table in failed),
        "patches": sum(int(row["num_patches"]) for row in rows),
        "models": dict(Counter(row["model_sha256"][:12] for row in rows)),
        "runtimes": dict(Counter(row["runtime"] for row in rows)),
        "tables": [table.name for table in tables],
    }
    following = f"tcssa convert {path} --to hdf5 --out FOLDER" if find_parts(path) else None
    kind = "encoded archive" + (", of Parquet" if following else "")
    return Inspected(path, kind, facts, next=following)


def _predictions(path: Path) -> Inspected | None:
    from tcssa.errors import RunError
    from tcssa.files.text import read_json
    from tcssa.run import PREDICTION_FILE

    if not (path / PREDICTION_FILE).is_file():
        return None
    facts = _flat(read_json(path / PREDICTION_FILE, RunError, top=dict))
    return Inspected(path, "predictions", {**facts, "files": _tables_and_pages(path)})


def _heat_maps(path: Path) -> Inspected | None:
    from tcssa.files.table import read_table
    from tcssa.run import HEATMAPS_FILE

    if not (path / HEATMAPS_FILE).is_file():
        return None
    table = read_table(path / HEATMAPS_FILE, delimiter=",", may_be_empty=True)
    facts: Facts = {"slides": len(table.rows), "files": _tables_and_pages(path)}
    return Inspected(path, "heat maps", facts)


def _tables_and_pages(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir() if file.suffix in (".csv", ".html"))


def _bag(path: Path) -> Inspected | None:
    from tcssa.features import BagRef, open_bag
    from tcssa.features.readers.registry import SUFFIXES, TABLE_SUFFIX

    ref = BagRef.parse(path)
    if not ref.file.is_file() or ref.path.suffix.lower() not in (*SUFFIXES, TABLE_SUFFIX):
        return None
    with open_bag(ref) as bag:
        facts: Facts = {
            "slide_id": bag.slide_id,
            "patches": bag.num_patches,
            "feature_dim": bag.feature_dim,
            "type": str(bag.features.dtype),
            "encoder": bag.encoder or "not named",
            "coords": "none" if bag.coords is None else f"top-left corners, {bag.coords_unit}",
        }
        noted = {name: _plain(value) for name, value in sorted(bag.attributes.items())}
    return Inspected(path, "patch features of one slide", facts, {"Attributes": _rows(noted)})


def _folder_of_bags(path: Path) -> Inspected | None:
    from tcssa.features import BagRef, find_bags, open_bag

    if not BagRef.parse(path).path.is_dir():
        return None
    try:
        bags = find_bags([path])
    except MissingDataError:
        return None
    patches: list[int] = []
    kinds: Counter[str] = Counter()
    for each in bags:
        with open_bag(each) as bag:
            patches.append(bag.num_patches)
            kinds[f"{bag.encoder or 'encoder not named'}, D = {bag.feature_dim}"] += 1
    facts: Facts = {
        "slides": len(bags),
        "patches": sum(patches),
        "patches_of_a_slide": f"{min(patches):,} to {max(patches):,}",
        "features": dict(kinds),
        "without_patches": sum(not number for number in patches),
        "folder": str(bags[0].address.parent),
    }
    return Inspected(
        path, "patch features", facts, next=f"tcssa encode {path} --model MODEL --out ENCODED"
    )


_KINDS: list[Callable[[Path], Inspected | None]] = [
    _artefact,
    _run,
    _checkpoint,
    _encoded_slide,
    _encoded_archive,
    _predictions,
    _heat_maps,
    _bag,
    _folder_of_bags,
]


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Facts:
    """Flatten nested facts to dotted names; facts that are None are left out."""
    flat: Facts = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = value
    return flat


def _rows(facts: Mapping[str, Any]) -> list[Facts]:
    return [{"name": name, "value": value} for name, value in facts.items()]


def _plain(value: Any) -> Any:
    """Return an HDF5 attribute as a plain value."""
    return value.tolist() if hasattr(value, "tolist") else value


def _shape(shape: list[int | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"
