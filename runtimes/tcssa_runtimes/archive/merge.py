"""Merging of encoded files: parts of a slide, or slides of a patient, without their features.

Means times masses are sums over patches, so those of several files add up to the sums that one file
of all their patches would hold. Only the experts run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tcssa.errors import FeatureFileError, UsageError
from tcssa_runtimes.archive.launch_scheduler import SLIDES_AT_ONCE
from tcssa_runtimes.archive.slot_files import write_slide_features
from tcssa_runtimes.archive.slot_state import EncodedState, read_state
from tcssa_runtimes.archive.stored_slots import Origin, Positions
from tcssa_runtimes.contract.base import Runtime

_SAME_MODEL = "give files that this model encoded"


def merge_slides(
    paths: Sequence[Path], out: Path, runtime: Runtime, *, same_slide: bool = False
) -> EncodedState:
    """Add up encoded files and write the slots of all their patches.

    Args:
        paths: Files that `tcssa_runtimes.archive.encode` wrote: two or more, or one where the
            runtime has a budget, which makes another number of slots of the same sums.
        out: The file to write.
        runtime: The model that encoded them; it is open, and streams.
        same_slide: Whether they are parts of one slide, so that their positions belong together;
            if not, the merged file has none.

    Returns:
        The facts and sums of the merged file.

    Raises:
        UsageError: There are too few files, one is a part of a Parquet archive, the model is a full
            graph, whose last half cannot run alone, or it has places and the files are not of the
            same slide.
        FeatureFileError: A file is broken, keeps no means, is of another model or encoder, holds
            the same patches as another one, or its positions are of another kind.
        ShapeError: Half precision overflowed.
    """
    if len(paths) < 2 and runtime.budget is None:
        raise UsageError("merge takes two files or more, or one and --budget")
    require_last_half(runtime)
    return write_merged(paths, out, runtime, same_slide=same_slide)


def require_last_half(runtime: Runtime) -> None:
    """Require a model whose last half, from sums to slots, runs alone.

    Raises:
        UsageError: It is a full graph.
    """
    if runtime.facts.chunk_patches is None:
        raise UsageError(
            f"{runtime.facts.path} is one graph for whole slides, and merging needs its last half",
            hint="give the run itself, or export with --graph chunked",
        )


def write_merged(
    paths: Sequence[Path], out: Path, runtime: Runtime, *, same_slide: bool = False
) -> EncodedState:
    """Add up one or more encoded files; see `merge_slides`.

    Args:
        paths: The files.
        out: The file to write.
        runtime: The model that encoded them; it is open, and streams.
        same_slide: Whether they are parts of one slide.
    """
    if parts := [path for path in paths if path.suffix == ".parquet"]:
        raise UsageError(
            f"{parts[0]} is a part of a Parquet archive, and merging takes a file a slide",
            hint="make them: tcssa convert ARCHIVE --to hdf5 --out FOLDER",
        )
    states = [read_state(path) for path in paths]
    _require_one_model(states, runtime)
    first, *others = states
    if others and runtime.facts.spatial and not same_slide:
        raise UsageError(
            f"{runtime.facts.path} reads where patches lie, and places of different slides do not "
            "add up",
            hint="give --same-slide if they are parts of one slide",
        )
    positions = _one_kind(states) if same_slide else first.positions
    if others and not same_slide:
        first.sums.places = None
    for other in others:
        first.sums.merge(other.sums)
    (slide,) = runtime.finish([first.sums], filled_to=SLIDES_AT_ONCE)
    runtime.require_finite(slide.slots)
    write_slide_features(
        out,
        slide,
        origin=joined_origin([state.facts.origin for state in states]),
        positions=None if slide.places is None else positions,
        encoder=None if first.encoder == "None" else first.encoder,
        runtime=runtime.name,
        classes=runtime.facts.classes,
        projector_sha256=runtime.facts.projector_sha256,
        budget=runtime.budget,
        failed_coords=None if others else first.failed_coords,
        more=None if others else first.extraction,
    )
    return read_state(out)


def joined_origin(origins: Sequence[Origin]) -> Origin:
    """Return the origin of the merged file; its hash does not depend on their order."""
    if len(origins) == 1:
        return origins[0]
    joined = " ".join(sorted(origin.input_hash for origin in origins))
    return Origin(
        model_sha256=origins[0].model_sha256,
        input_name=" + ".join(origin.input_name for origin in origins)[:1000],
        input_bytes=sum(origin.input_bytes for origin in origins),
        input_mtime_ns=max(origin.input_mtime_ns for origin in origins),
        input_hash=hashlib.sha256(joined.encode()).hexdigest(),
    )


def _require_one_model(states: Sequence[EncodedState], runtime: Runtime) -> None:
    seen: dict[str, Path] = {}
    for state in states:
        path, origin = state.facts.path, state.facts.origin
        if origin.model_sha256 != runtime.facts.sha256:
            raise FeatureFileError(path, "its slots are of another model", hint=_SAME_MODEL)
        if state.encoder != states[0].encoder:
            reason = f"its features are of {state.encoder!r}, the others of {states[0].encoder!r}"
            raise FeatureFileError(path, reason)
        other = seen.setdefault(origin.input_hash, path)
        if other is not path:
            raise FeatureFileError(path, f"holds the same patches as {other}", hint="give it once")


def _one_kind(states: Sequence[EncodedState]) -> Positions | None:
    """Return the kind of positions that all files have.

    Raises:
        FeatureFileError: The positions are of different kinds, which do not add up.
    """
    first = _kind(states[0])
    for state in states:
        if _kind(state) != first:
            hint = "leave --same-slide out, to merge without places"
            if states[0].sums.places is not None and states[0].sums.places.mpp is not None:
                hint = "encode all parts with coordinates of one kind and one mpp_level0"
            reason = f"its places are {_kind(state)}, those of the first file {first}"
            raise FeatureFileError(state.facts.path, reason, hint=hint)
    return states[0].positions


def _kind(state: EncodedState) -> str:
    """Describe the places of a file, as an error says it."""
    positions, places = state.positions, state.sums.places
    if positions is None:
        return "not known"
    scale = "" if places is None or places.mpp is None else f", {places.mpp:g} µm a unit"
    return f"{positions.point}s in {positions.unit}{scale}"
