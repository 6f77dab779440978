"""The picture of one encoded slide: which slot each patch went to."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import UsageError
from tcssa_runtimes.contract.routing import Routing

if TYPE_CHECKING:
    from PIL.Image import Image


def slot_picture(routing: Routing | None, patch_size: float | None) -> Image:
    """Draw the grid of a slide's patches beside the same, coloured by their first slot.

    Args:
        routing: The slide's routing.
        patch_size: Side of a patch, in the unit of the positions; None takes the smallest distance
            of two columns or rows of patches.

    Raises:
        UsageError: The slide was encoded without coordinates, or merged of parts.
    """
    from PIL import Image

    from tcssa.reports.slot_map import slot_map_figure
    from tcssa.slides.image.small_picture import grid_picture

    if routing is None or routing.positions is None:
        raise UsageError(
            "the slide was encoded without coordinates, or merged of parts: no map can be drawn",
            hint="give the coordinates of the patches to encode",
        )
    corners = routing.positions - routing.positions.min(axis=0)
    side = max(1, round(patch_size or _pitch(corners)))
    grid = grid_picture(corners, side)
    first = routing.slots[:, 0].astype(np.int64)
    figure = slot_map_figure(grid.pixels, grid.scale, corners, side, first, title="")
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format="png")
    content.seek(0)
    return Image.open(content)


def _pitch(corners: NDArray[Any]) -> float:
    steps = np.concatenate([np.diff(np.unique(column)) for column in corners.T])
    return float(steps.min(initial=np.inf)) if len(steps) else 1.0
