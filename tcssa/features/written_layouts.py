"""Writing a bag in the layout of another tool: TRIDENT, CLAM or STAMP.

A layout is a function that writes all files of one slide below a folder, the one whose existence
means "done" last. Rows are streamed in chunks; only CLAM's ``.pt`` needs the whole slide in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.features.bag import Bag
from tcssa.features.bag_metadata import Described
from tcssa.features.trident_layout import ROWS, folder_name, trident_files, write_trident
from tcssa.features.writer import Attribute, as_stored, new_file
from tcssa.files import atomic
from tcssa.version import __version__

_CLAM_ROWS = 32
_STAMP_VERSION = "2.0.0"
"""First version of STAMP with this layout; STAMP refuses files of versions above its own."""


@dataclass(frozen=True)
class Layout:
    """The files in which one tool keeps features.

    Attributes:
        files: Names a slide's files, given folder, slide_id and encoder. The last file exists only
            once the slide is done.
        write: Writes a bag, given its facts, the folder and the type to store features in, None for
            the layout's own choice.
        dtypes: Types that features may be stored in.
        needs_mpp: Whether coordinates in pixels cannot be written without a resolution.
    """

    files: Callable[[Path, str, str | None], tuple[Path, ...]]
    write: Callable[[Bag, Described, Path, str | None], None]
    dtypes: tuple[str, ...]
    needs_mpp: bool = False


def _clam_files(out: Path, slide_id: str, encoder: str | None) -> tuple[Path, ...]:
    name = f"{slide_id}.h5"
    return out / "h5_files" / name, out / "patches" / name, out / "pt_files" / f"{slide_id}.pt"


def _write_clam(bag: Bag, known: Described, out: Path, _: str | None) -> None:
    """Write ``h5_files`` and ``patches`` if coordinates are known, and ``pt_files`` last."""
    import torch

    with_coords, patches, target = _clam_files(out, bag.slide_id, known.encoder)
    if known.has_coords:
        _write_clam_h5(bag, known, with_coords)
        if known.patch_size_level0 is not None:
            _write_clam_patches(bag, known, patches)
    rows = torch.empty((bag.num_patches, bag.feature_dim), dtype=torch.float32)
    begin = 0
    for features, coords in bag.chunks(ROWS):
        stored = as_stored(target, features, coords, np.float32)
        rows[begin : begin + len(stored)] = torch.from_numpy(stored)
        begin += len(stored)
    with atomic.replacing(target) as temporary:
        torch.save(rows, temporary)


def _write_clam_h5(bag: Bag, known: Described, path: Path) -> None:
    shapes = {"features": (bag.feature_dim, "float32"), "coords": (2, "int32")}
    with new_file(path) as (file, disk):
        for name, (width, dtype) in shapes.items():
            file.create_dataset(
                name,
                shape=(bag.num_patches, width),
                maxshape=(None, width),
                chunks=(_CLAM_ROWS, width),
                dtype=dtype,
            )
        for begin, end, features, coords in _pieces(bag):
            file["features"][begin:end] = as_stored(path, features, coords, np.float32)
            file["coords"][begin:end] = known.pixels(coords)
            disk.check()


def _write_clam_patches(bag: Bag, known: Described, path: Path) -> None:
    coords = known.pixels(bag.read_coords())
    assert coords is not None
    with new_file(path) as (file, _):
        dataset = file.create_dataset("coords", data=coords, maxshape=(None, 2), chunks=True)
        dataset.attrs.update(
            downsample=np.ones(2),  # corners and sides are all in level-0 pixels
            name=bag.slide_id,
            patch_level=0,
            patch_size=known.patch_size_level0,
            save_path=str(path.parent.resolve()),
        )
        if known.level0_size is not None:
            size = np.array(known.level0_size, dtype=np.int64)
            dataset.attrs.update(level_dim=size, downsampled_level_dim=size)


def _stamp_files(out: Path, slide_id: str, encoder: str | None) -> tuple[Path, ...]:
    return (out / folder_name(encoder) / f"{slide_id}.h5",)


def _write_stamp(bag: Bag, known: Described, out: Path, _: str | None) -> None:
    (path,) = _stamp_files(out, bag.slide_id, known.encoder)
    with new_file(path) as (file, disk):
        feats = file.create_dataset("feats", (bag.num_patches, bag.feature_dim), "float16")
        where = (
            file.create_dataset("coords", (bag.num_patches, 2), "float32")
            if (known.has_coords)
            else None
        )
        for begin, end, features, coords in _pieces(bag):
            feats[begin:end] = as_stored(path, features, coords, np.float16)
            if where is not None:
                where[begin:end] = known.microns(coords)
            disk.check()
        file.attrs.update(_stamp_attributes(known))


def _stamp_attributes(known: Described) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {
        "stamp_version": _STAMP_VERSION,
        "code_hash": f"tcssa-{__version__}",
        "feat_type": "tile",
        "tcssa_version": __version__,
    }
    if known.encoder is not None:
        attributes["extractor"] = known.encoder
    if known.has_coords:
        attributes["unit"] = "um"
    if known.patch_size is not None:
        attributes["tile_size_px"] = known.patch_size
    if known.mpp is not None:
        attributes["mpp_level0"] = known.mpp  # STAMP keeps none, and cannot go back to pixels
        if known.patch_size_level0 is not None:
            said = known.attributes.get("tile_size_um")
            side = known.patch_size_level0 * known.mpp if said is None else said
            attributes["tile_size_um"] = float(side)
    return attributes


def _pieces(bag: Bag) -> Iterator[tuple[int, int, NDArray[Any], NDArray[Any] | None]]:
    begin = 0
    for features, coords in bag.chunks(ROWS):
        yield begin, begin + len(features), features, coords
        begin += len(features)


LAYOUTS = {
    "trident": Layout(trident_files, write_trident, ("float32", "float16")),
    "clam": Layout(_clam_files, _write_clam, ("float32",)),
    "stamp": Layout(_stamp_files, _write_stamp, ("float16",), needs_mpp=True),
}
