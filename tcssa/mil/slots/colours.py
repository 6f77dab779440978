"""The colours of slots."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

from matplotlib import colormaps

_GOLDEN = 0.618034

Colours = Mapping[int, tuple[float, float, float]]


def slot_colours(slots_by_mass: Sequence[int]) -> Colours:
    """Choose one colour for every slot of a fold, the same on all its slides.

    The slots with the most mass get the most distinct colours.

    Args:
        slots_by_mass: All slots, the one with the most mass first.
    """
    table = colormaps["tab20"]
    # its strong colours first, its pale ones after them
    named = [table(i)[:3] for i in (*range(0, 20, 2), *range(1, 20, 2))]
    more = [
        colorsys.hsv_to_rgb(i * _GOLDEN % 1, 0.5 + 0.4 * (i % 2), 0.5 + 0.4 * (i // 2 % 2))
        for i in range(max(0, len(slots_by_mass) - len(named)))
    ]
    return dict(zip(slots_by_mass, [*named, *more], strict=False))
