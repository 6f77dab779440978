"""The group ``patches`` of an encoded slide's file: which slots its patches went to, and where.

``slots`` (N, T) uint8, from 257 slots on uint16, most probable first; ``weights`` (N, T) float16,
their routing probabilities; ``salience`` (N,) float16, where the model has one; ``coords`` (N, 2),
the top-left corners of the patches (int32 where they are whole numbers, else float64), where the
input has coordinates. Attributes of the group: ``coords_unit``; ``patch_size``, the side of a patch
in that unit; ``um_per_coord``; each where it is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5 import attributes, find_object, numbers
from tcssa_runtimes.contract.routing import Routing

PATCHES = "patches"


@dataclass(frozen=True)
class PatchFrame:
    """The unit and the frame of patches' coordinates."""

    unit: str | None = None
    """``level0_px`` or ``um``; None where there are no coordinates."""
    side: float | None = None
    """Side of a patch in that unit; where it is None, positions are corners, else centres."""
    um_per_coord: float | None = None


@dataclass(frozen=True, eq=False)
class StoredRouting:
    """Content of the group ``patches``."""

    routing: Routing
    """Its positions are the patches' top-left corners."""
    frame: PatchFrame | None
    """None where there are no coordinates."""


def write_routing(file: h5py.File, routing: Routing, frame: PatchFrame) -> None:
    """Write the group.

    Args:
        file: The file of slots, open.
        routing: The slide's routing.
        frame: What its positions are in.
    """
    group = file.create_group(PATCHES)
    group.create_dataset("slots", data=routing.slots)
    group.create_dataset("weights", data=routing.weights)
    if routing.salience is not None:
        group.create_dataset("salience", data=routing.salience)
    if routing.positions is None:
        return
    corners: NDArray[Any] = routing.positions - (frame.side or 0) / 2
    whole = np.rint(corners)
    is_whole = np.array_equal(whole, corners) and np.abs(whole).max(initial=0) < 2**31
    group.create_dataset("coords", data=whole.astype(np.int32) if is_whole else corners)
    said = {
        "coords_unit": frame.unit,
        "patch_size": frame.side,
        "um_per_coord": frame.um_per_coord,
    }
    group.attrs.update({name: value for name, value in said.items() if value is not None})


def read_routing(file: h5py.File, num_patches: int, num_slots: int) -> StoredRouting | None:
    """Read the group; None where the file has none.

    Args:
        file: The file of slots, open.
        num_patches: N.
        num_slots: K of the model, before any budget.

    Raises:
        UnsoundError: The group makes no sense.
    """
    group = find_object(file, PATCHES)
    if group is None:
        return None
    slots = numbers(group, "slots", kinds="u", ndim=2)[:]
    weights = numbers(group, "weights", kinds="f", ndim=2)[:]
    salience = coords = None
    if find_object(group, "salience") is not None:
        salience = numbers(group, "salience", kinds="f", ndim=1)[:]
    if find_object(group, "coords") is not None:
        coords = numbers(group, "coords", kinds="if", ndim=2)[:]
    counted = [each for each in (weights, salience) if each is not None]
    if (
        slots.shape != weights.shape
        or {len(each) for each in (slots, *counted)} != {num_patches}
        or slots.max(initial=0) >= num_slots
        or not all(np.isfinite(each).all() and (each >= 0).all() for each in counted)
        or (coords is not None and coords.shape != (num_patches, 2))
        or (coords is not None and not np.isfinite(coords).all())
    ):
        raise UnsoundError("its assignments of patches make no sense")
    routing = Routing(slots, weights, salience, coords)
    return StoredRouting(routing, None if coords is None else _frame(group))


def _frame(group: h5py.Group) -> PatchFrame:
    said = attributes(group)
    side, um = (said.get(name) for name in ("patch_size", "um_per_coord"))
    frame = PatchFrame(
        str(said.get("coords_unit")),
        None if side is None else float(side),
        None if um is None else float(um),
    )
    if not all(each is None or 0 < each < np.inf for each in (frame.side, frame.um_per_coord)):
        raise UnsoundError("the size of its patches makes no sense")
    return frame
