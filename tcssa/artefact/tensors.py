"""The tensors that the graphs of an artefact have, and the sizes they must agree on.

A runtime allocates memory by what ``artefact.json`` says, so all parts must describe one model.

Shapes: B bags or chunks, R their rows, P features of a patch, D of a slot, K slots, T = top_k, M
moments of a slot's place, C classes, H width of a language model. B varies; R may be fixed, where a
graph takes chunks of one size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tcssa.errors import ArtefactError
from tcssa.files.limits import Limit
from tcssa.moments import VECTOR_LENGTH

if TYPE_CHECKING:
    from pathlib import Path

    from tcssa.artefact.records import ArtefactRecord, TensorSpec

LAUNCH_VALUES = Limit("TCSSA_MAX_LAUNCH_VALUES", 2**26, "numbers in a tensor of one slide or chunk")

_MASS = {"mass": "BK"}
_ROUTING = {**_MASS, "assignments": "BRT", "weights": "BRT"}
_SALIENCE = {"salience": "BR"}
_FEATURES = {"features": "BRP", "lengths": "B"}
_COORDS = {"coords": "BR2"}
_MEAN = {"mean": "BKD"}
_MOMENTS = {"moments": "BKM"}
_SLOTS = {"slots": "BKD"}
_HEADS: Mapping[str, Mapping[str, str]] = {
    "compressor": {},
    "classifier": {"logits": "BC"},
    "projector": {"tokens": "BKH"},
}
_INTEGERS = ("lengths", "assignments")

Tensors = Mapping[str, str]
"""Name to axes."""


def graphs_of(artefact: ArtefactRecord) -> dict[str, tuple[Tensors, Tensors]]:
    """Return the graphs that an artefact has by its kind: inputs and outputs of each, in order."""
    head = _HEADS[artefact.what]
    routing = {**_ROUTING, **(_SALIENCE if artefact.salience else {})}
    if artefact.graph == "full":
        inputs = {**_FEATURES, **(_COORDS if artefact.spatial else {})}
        return {"full": (inputs, {**_SLOTS, **routing, **head})}
    sums = {
        **_MEAN,
        **(_MASS if artefact.head_takes_mass else {}),
        **(_MOMENTS if artefact.spatial else {}),
    }
    return {"partial": (_FEATURES, {**_MEAN, **routing}), "finish": (sums, {**_SLOTS, **head})}


def require_one_model(artefact: ArtefactRecord) -> None:
    """Require that an artefact has its graphs, and their tensors the sizes that it states.

    Raises:
        ValueError: A graph is missing or superfluous, or its tensors do not have the names, types
            or sizes that the artefact's kind and stated sizes ask for.
    """
    if (artefact.graph == "chunked") is (artefact.chunk_patches is None):
        raise ValueError("chunk_patches must be stated of a chunked pair, and of no other graph")
    if artefact.top_k > artefact.num_slots:
        raise ValueError(f"top_k = {artefact.top_k} of {artefact.num_slots} slots")
    if artefact.num_slots % artefact.members or artefact.top_k % artefact.members:
        raise ValueError(
            f"{artefact.members} members do not share {artefact.num_slots} slots and "
            f"top_k = {artefact.top_k}"
        )
    wanted = graphs_of(artefact)
    if artefact.models.keys() != wanted.keys():
        found = ", ".join(artefact.models) or "none"
        raise ValueError(f"models must be {' and '.join(wanted)}, found: {found[:60]}")
    for graph, (inputs, outputs) in wanted.items():
        model = artefact.models[graph]
        _require_tensors(artefact, f"inputs of {graph}", model.inputs, inputs)
        _require_tensors(artefact, f"outputs of {graph}", model.outputs, outputs)


def _require_tensors(
    artefact: ArtefactRecord, place: str, found: Sequence[TensorSpec], wanted: Tensors
) -> None:
    if [tensor.name for tensor in found] != list(wanted):
        raise ValueError(f"{place} must be {', '.join(wanted)}")
    rows = artefact.chunk_patches
    sizes = {
        "B": (None,),
        "R": (None, rows),
        "P": (artefact.feature_dim,),
        "D": (artefact.slot_dim,),
        "K": (artefact.num_slots,),
        "T": (artefact.top_k,),
        "C": (len(artefact.classes or ()),),
        "H": (artefact.token_dim or 0,),
        "2": (2,),
        "M": (VECTOR_LENGTH,),
    }
    for tensor in found:
        axes = wanted[tensor.name]
        fits = len(tensor.shape) == len(axes) and all(
            size in sizes[axis] for size, axis in zip(tensor.shape, axes, strict=True)
        )
        if not fits or (tensor.dtype == "int64") is not (tensor.name in _INTEGERS):
            raise ValueError(
                f"{place}: {tensor.name} is {tensor.dtype} {tensor.shape}, which does not fit the "
                "sizes that are stated"
            )


def require_small(artefact: ArtefactRecord, path: Path) -> None:
    """Require that the memory for one slide or chunk stays within a limit.

    Args:
        artefact: The record that was read.
        path: Its file, named in errors.

    Raises:
        ArtefactError: A tensor of one slide or chunk would hold more numbers than `LAUNCH_VALUES`.
    """
    takes_features = next(iter(graphs_of(artefact)))
    fixed_rows = artefact.models[takes_features].inputs[0].shape[1]
    rows = max(fixed_rows or 1, artefact.patches.min)
    slots = artefact.num_slots * max(artefact.slot_dim, artefact.token_dim or 0)
    LAUNCH_VALUES.require(max(rows * artefact.feature_dim, slots), path, ArtefactError)
