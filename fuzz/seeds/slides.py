"""Slides, pictures and masks of a few hundred pixels, and encoded slides."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fuzz.seeds.making import made

SIDE = 64
"""Of a slide's level 0."""
_TILE = 32
Pixels = NDArray[np.uint8]


def pixels(side: int = SIDE) -> Pixels:
    """A picture [side, side, 3] of smooth colours, which no two places have alike."""
    y, x = np.mgrid[:side, :side]
    scale = 255 // side
    return np.stack([x * scale, y * scale, (x + y) * scale // 2], axis=2).astype(np.uint8)


def tiffs() -> list[bytes]:
    """Tiled slides in several compressions, a pyramid, a BigTIFF, and a flat picture."""
    tiled: dict[str, Any] = {"tile": (_TILE, _TILE)}
    return [
        _tiff([pixels()], **tiled),
        _tiff([pixels()], **tiled, compression="zlib"),
        _tiff([pixels()], **tiled, compression="lzw"),
        _tiff([pixels()], **tiled, compression="jpeg"),
        _tiff([pixels()], **tiled, compression="jpeg2000"),
        _tiff([pixels()], **tiled, compression="webp"),
        _tiff([pixels(), pixels()[::2, ::2], pixels()[::4, ::4]], **tiled),
        _tiff([pixels()], **tiled, bigtiff=True),
        _tiff([pixels()], **tiled, byteorder=">"),
        _tiff([pixels()], rowsperstrip=8, compression="zlib"),
    ]


def several_tiffs() -> list[bytes]:
    """A label before the slide, two pictures of one size, and colours that are pages."""
    tiled: dict[str, Any] = {"tile": (_TILE, _TILE)}
    return [
        _tiff([pixels()[:20, :50], pixels()], **tiled, compression="zlib"),
        _tiff([pixels(), pixels()[::-1]], rowsperstrip=8, compression="lzw"),
        _tiff([pixels(), pixels()], **tiled, compression="jpeg"),
        _ome_channels(),
    ]


def small_tiffs() -> list[bytes]:
    """A slide of one tile, plain and packed."""
    tiled: dict[str, Any] = {"tile": (_TILE, _TILE)}
    return [_tiff([pixels(_TILE)], **tiled), _tiff([pixels(_TILE)], **tiled, compression="zlib")]


def _tiff(
    levels: list[Pixels], *, bigtiff: bool = False, byteorder: Any = "<", **how: Any
) -> bytes:
    content = io.BytesIO()
    with tifffile.TiffWriter(content, bigtiff=bigtiff, byteorder=byteorder) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level,
                photometric="rgb",
                subfiletype=1 if number else 0,
                resolution=(20_000 / 2**number,) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
                **how,
            )
    return content.getvalue()


def _ome_channels() -> bytes:
    """An OME-TIFF whose red, green and blue are three pages."""
    content = io.BytesIO()
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5,
                "Channel": {"Name": ["Red", "Green", "Blue"]}}  # fmt: skip
    with tifffile.TiffWriter(content, ome=True) as tiff:
        tiff.write(
            pixels().transpose(2, 0, 1), photometric="minisblack", tile=(_TILE, _TILE),
            metadata=metadata,
        )  # fmt: skip
    return content.getvalue()


def pictures() -> list[bytes]:
    """Plain pictures in every format and mode that becomes a slide."""
    image = Image.fromarray(pixels(32))
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("PNG", "RGB", {}), ("PNG", "P", {}), ("PNG", "RGBA", {}), ("PNG", "L", {}),
        ("JPEG", "RGB", {}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {}),
        ("BMP", "RGB", {}), ("TIFF", "RGB", {}), ("TIFF", "L", {"compression": "tiff_lzw"}),
    ]  # fmt: skip
    return [_saved(image.convert(mode), kind, **how) for kind, mode, how in ways]


def mask_pictures() -> list[bytes]:
    """Masks as pictures: a disc of tissue."""
    y, x = np.mgrid[:40, :40]
    disc = Image.fromarray((((x - 20) ** 2 + (y - 20) ** 2 < 200) * 255).astype(np.uint8))
    kinds = ("PNG", "JPEG", "TIFF")
    return [*(_saved(disc, kind) for kind in kinds), _saved(disc.convert("RGB"), "PNG")]


def _saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **how)
    return content.getvalue()


def outlines() -> list[bytes]:
    """GeoJSON as QuPath and TRIDENT write it, with holes and several polygons."""
    outer = [[50, 50], [350, 60], [340, 350], [60, 340], [50, 50]]
    hole = [[150, 150], [250, 150], [250, 250], [150, 250], [150, 150]]
    polygon = {"type": "Polygon", "coordinates": [outer, hole]}
    several = {"type": "MultiPolygon", "coordinates": [[hole], [[[300.5, 300], [390, 300],
               [390, 395.25], [300.5, 300]]]]}  # fmt: skip
    features = [
        {"type": "Feature", "properties": {"name": "x"}, "geometry": geometry}
        for geometry in (polygon, several)
    ]
    contents: list[Any] = [
        {"type": "FeatureCollection", "features": features},
        features,
        {"type": "GeometryCollection", "geometries": [polygon]},
    ]
    return [json.dumps(content).encode() for content in contents]


def ome_zarrs() -> list[bytes]:
    """OME-Zarr of both versions and two levels."""
    return [made(partial(_write_zarr, zarr_format=form), ".ome.zarr") for form in (2, 3)]


def _write_zarr(path: Path, zarr_format: Any) -> None:
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    datasets = []
    for number, level in enumerate((pixels(), pixels()[::2, ::2])):
        planes = np.ascontiguousarray(level.transpose(2, 0, 1))
        group.create_array(str(number), data=planes, chunks=(3, 32, 32))
        scale = [1.0, 0.5 * 2**number, 0.5 * 2**number]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    version = "0.5" if zarr_format == 3 else "0.4"
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    multiscales: Any = [{"axes": axes, "datasets": datasets, "version": version}]
    if zarr_format == 3:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    else:
        group.attrs["multiscales"] = multiscales


def encoded_slides() -> list[bytes]:
    """A slide's slots as ``tcssa encode`` writes them."""
    from tcssa.moments import SlotMoments
    from tcssa_runtimes.archive.slot_files import write_slide_features
    from tcssa_runtimes.archive.stored_slots import Origin, Positions
    from tcssa_runtimes.contract.outputs import EncodedSlide

    slots = np.arange(12, dtype=np.float32).reshape(3, 4)
    assignments, positions = np.array([[0, 1], [2, 1]]), np.array([[0.0, 0.0], [900.0, 300.0]])
    places = SlotMoments.of(assignments, np.ones((2, 2), np.float32), positions, 3, mpp=0.5)
    slide = EncodedSlide(slots, slots[:, 0], None, num_patches=5)
    placed = EncodedSlide(slots, places.mass.astype(np.float32), places, 2, means=slots)
    origin = Origin("a" * 64, "S.h5", 1000, 10**18, "b" * 64)

    def written(slide: EncodedSlide, positions: Positions | None) -> bytes:
        return made(
            lambda path: write_slide_features(
                path, slide, origin=origin, positions=positions, encoder="uni", runtime="torch"
            ),
            ".h5",
        )

    return [written(slide, None), written(placed, Positions("level0_px", "corner"))]
