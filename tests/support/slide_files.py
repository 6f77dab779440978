"""Small slides of any content, written as OpenSlide reads them."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tcssa import synthetic

Pixels = NDArray[np.uint8]

FEATURES = "20x_224px_0px_overlap/features_efficientnet_lite0"
TISSUE = (190, 110, 170)
GLASS = (243, 242, 240)


def write_slide(
    path: Path,
    pixels: Pixels,
    *,
    mpp: float = 0.5,
    mpp_y: float | None = None,
    description: str | None = None,
) -> Path:
    """A tiled TIFF of one level; without mpp it states no resolution."""
    resolution: dict[str, Any] = {}
    if mpp is not None:
        resolution = {
            "resolution": (10_000 / mpp, 10_000 / (mpp_y or mpp)),
            "resolutionunit": "CENTIMETER",
        }
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        description=description,
        metadata=None,
        software=False,
        **resolution,
    )
    return path


def draw_slides(folder: Path, number: int, *, width: int = 1568, height: int = 1344) -> list[Path]:
    """Slides as the demo draws them, pyramids of JPEG tiles; by default of the lung cohort's size.

    They stand in for scanned ones where a test is of what is done with slides, not of tissue.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for spec in synthetic.cohort_specs(number):
        drawn = synthetic.draw_slide(replace(spec, width=width, height=height))
        paths.append(folder / f"D-{spec.index:02d}.tif")
        synthetic.write_pyramid(paths[-1], drawn.pixels, synthetic.MPP, paths[-1].stem)
    return paths


def stained(height: int, width: int, *, seed: int = 0) -> Pixels:
    """Tissue all over, with some texture."""
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return np.clip(np.array(TISSUE) + noise, 0, 255).astype(np.uint8)


def glass(height: int, width: int, *, tint: tuple[int, int, int] = GLASS, seed: int = 0) -> Pixels:
    """Glass all over, with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0, 1.5, (height, width, 1))
    return np.clip(np.array(tint) + noise, 0, 255).astype(np.uint8)


def damage_tile(path: Path, *, column: int, row: int) -> int:
    """Overwrite one JPEG tile of level 0; returns the tile's side."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        across = -(-page.imagewidth // page.tilewidth)
        number = row * across + column
        offset, size = page.dataoffsets[number], page.databytecounts[number]
        side = page.tilewidth
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\0" * size)
    return side


def write_pyramid(path: Path, levels: list[Pixels], *, mpp: float) -> Path:
    """A tiled TIFF of several levels, without loss."""
    with tifffile.TiffWriter(path) as tiff:
        for number, pixels in enumerate(levels):
            tiff.write(
                pixels,
                tile=(256, 256),
                photometric="rgb",
                subfiletype=1 if number else 0,
                resolution=(10_000 / mpp / 2**number,) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
            )
    return path


def write_ome_channels(path: Path, pixels: Pixels, names: list[str] | None = None) -> Path:
    """An OME-TIFF whose channels are pages, by default named as the colours; 0.25 µm per pixel."""
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeY": 0.25,
        "Channel": {"Name": ["Red", "Green", "Blue"] if names is None else names},
    }
    tiles = {"photometric": "minisblack", "tile": (128, 128)}
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), ome=True, metadata=metadata, **tiles)
    return path


def write_zarr(
    path: Path,
    levels: list[NDArray[Any]],
    *,
    mpp: float | None,
    unit: str = "micrometer",
    axes: str = "cyx",
    version: str = "0.5",
) -> Path:
    """An OME-Zarr of levels ``[h, w, c]``, each half of the one before."""
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for number, pixels in enumerate(levels):
        missing = [axis for axis in axes if axis not in "yxc"]
        stacked = np.expand_dims(pixels, tuple(range(len(missing))))
        array = stacked.transpose([("".join(missing) + "yxc").index(axis) for axis in axes])
        group.create_array(str(number), data=np.ascontiguousarray(array))
        scale = [(mpp or 1.0) * 2**number if axis in "yx" else 1.0 for axis in axes]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    multiscales = [
        {
            "axes": [
                {"name": axis, "type": "space", **({"unit": unit} if mpp else {})}
                if axis in "xyz"
                else {"name": axis, "type": "channel"}
                for axis in axes
            ],
            "datasets": datasets,
            "version": version,
        }
    ]
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    else:
        group.attrs["multiscales"] = multiscales
    return path


def write_claims(path: Path, *, width: int, height: int, tile: int, **more: int) -> Path:
    """A BigTIFF of a few hundred bytes that claims a size; its tiles are empty.

    Args:
        path: File to write.
        width: Of its picture.
        height: Of its picture.
        tile: Side of the tiles.
        more: ``samples`` (3) a pixel; ``following``, the place of the next directory (0, none);
            ``inner``, that of an inner one (none); ``text_bytes`` of a description (none).
    """
    across = -(-width // tile) * -(-height // tile)
    samples = more.get("samples", 3)
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 277: samples, 322: tile, 323: tile}
    entries = [(tag, 4, 1, value) for tag, value in values.items()]
    end = 16 + 8 + 20 * (len(values) + 2 + len({"inner", "text_bytes"} & more.keys())) + 8
    entries += [(tag, 16, across, end if across > 1 else 0) for tag in (324, 325)]
    if "inner" in more:
        entries.append((330, 16, 1, more["inner"]))
    if "text_bytes" in more:
        entries.append((270, 2, more["text_bytes"], end))
    content = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(entries))
    content += b"".join(struct.pack("<HHQQ", *entry) for entry in sorted(entries))
    content += struct.pack("<Q", more.get("following", 0))
    path.write_bytes(content + bytes(8 * across if across > 1 else 0))
    return path


def write_vmu(folder: Path, *, width: int) -> Path:
    """A Hamamatsu VMU, where a strip of tiles is as wide as it says, and nothing is stored."""
    for name, size in (("level.ngr", width), ("map.ngr", 1024)):
        head = b"GN\0\0" + struct.pack("<iii", size, 64, size) + bytes(8) + struct.pack("<i", 64)
        (folder / name).write_bytes(head + bytes(200))
    path = folder / "slide.vmu"
    path.write_text(
        "[Uncompressed Virtual Microscope Specimen]\nNoLayers=1\nImageFile=level.ngr\n"
        "MapFile=map.ngr\nBitsPerPixel=36\nPixelOrder=RGB\nSourceLens=20\n"
    )
    return path


def write_scn(path: Path, pixels: Pixels, *, corner: tuple[int, int], side: int) -> Path:
    """A Leica SCN of 0.5 µm per pixel of which only a part was scanned.

    Args:
        path: File to write.
        pixels: What was scanned.
        corner: Its upper left corner (x, y) on the slide, in pixels.
        side: Side of the whole slide, in pixels.
    """
    macro = np.full((256, 256, 3), 255, np.uint8)

    def image(number: int, picture: Pixels, view: tuple[int, int, int, int], power: float) -> str:
        (height, width), (x, y, wide, high) = picture.shape[:2], (each * 500 for each in view)
        return (
            f'<image name="image_{number}" uuid="urn:uuid:{number}">'
            "<creationDate>2011-01-01T00:00:00Z</creationDate>"
            '<device model="Leica SCN400;Leica SCN" version="1.0"/>'
            f'<pixels sizeX="{width}" sizeY="{height}">'
            f'<dimension sizeX="{width}" sizeY="{height}" r="0" ifd="{number}"/></pixels>'
            f'<view sizeX="{wide}" sizeY="{high}" offsetX="{x}" offsetY="{y}" spacingZ="0"/>'
            f"<scanSettings><objectiveSettings><objective>{power}</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings>"
            "</scanSettings></image>"
        )

    description = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" '
        f'uuid="urn:uuid:a"><collection name="Slide" uuid="urn:uuid:b" sizeX="{side * 500}" '
        f'sizeY="{side * 500}"><barcode>MQ==</barcode>'
        + image(0, macro, (0, 0, side, side), 0.6)
        + image(1, pixels, (*corner, pixels.shape[1], pixels.shape[0]), 20)
        + "</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for picture, text in ((macro, description), (pixels, None)):
            tiff.write(
                picture,
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                description=text,
                metadata=None,
                software=False,
            )
    return path
