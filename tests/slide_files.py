"""Small slides of any content, written as OpenSlide reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

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
