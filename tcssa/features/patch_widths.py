"""Patches of another width than those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tcssa.errors import counted
from tcssa.features.name_matching import shown

_LARGEST_DIFFERENCE = 0.1
"""Of the widths of two patches; 448 level-0 pixels for 482, as TRIDENT rounds them, are less."""


def is_other_width(width: float | None, own: float | None) -> bool:
    """Tell whether patches are known to be of another width than a model's own.

    Args:
        width: Width of the patches in µm; None where it is not known.
        own: Width of those of training in µm; None where it is not known.
    """
    return width is not None and own is not None and abs(width / own - 1) > _LARGEST_DIFFERENCE


def other_width(
    own: float | None, widths: Mapping[str, float | None], model: str = "the run"
) -> str | None:
    """Name slides to predict whose patches are of another width than those of training.

    Args:
        own: Width of a patch of training in µm; None where it is not known.
        widths: Width of a patch in µm by slide_id, None where it is not known.
        model: What was trained.

    Returns:
        A sentence; None where no slide is known to have another width.
    """
    others = [name for name, width in widths.items() if is_other_width(width, own)]
    return width_warning(own, others, len(widths), model, "predictions may be wrong")


def width_warning(
    own: float | None, others: Sequence[str], num_slides: int, model: str, so: str
) -> str | None:
    """Return a sentence on slides whose patches are of another width; None for no slide.

    Args:
        own: Width of a patch of training in µm.
        others: The slides, by slide_id.
        num_slides: All slides that were looked at.
        model: What was trained.
        so: What follows.
    """
    if not others:
        return None
    return (
        f"{model} was trained on patches {own:g} µm wide, and those of {len(others)} of "
        f"{counted(num_slides, 'slide')} are of another width, so {so}: "
        f"{shown(others, most=5)}; give features of patches that wide"
    )
