"""One slide, or several, as the language model is shown them for a question.

Sums over patches add up, so several slides become the K slots of all their patches together
(merge), or the tokens of one slide stand behind those of another (concat).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.errors import FeatureFileError, UsageError
from tcssa.features import open_bag
from tcssa.vqa.answering.slide_tokens import (
    SeenSlide,
    UnusableSlideError,
    see_merged,
    see_slide,
)
from tcssa.vqa.data.row_slides import name_of
from tcssa.vqa.explain.ask_settings import SlidesTogether
from tcssa.vqa.explain.slot_table import SlotPlaces, places_side_by_side, slot_places
from tcssa.vqa.model.merging import require_merging
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.model.visual_encoders import SlotVisual


@dataclass(frozen=True)
class ShownSlides:
    """What the language model is shown, and where it lies."""

    name: str
    """The slide, or the slides with `` + `` between them."""
    visual: Tensor
    """Visual tokens [V, D]."""
    slides: list[str]
    """The slide of each token, V of them."""
    places: SlotPlaces | None = None
    """None where the tokens are no slots."""
    coords: NDArray[Any] | None = None
    """Top-left corners of the patches in level-0 pixels [N, 2]; None where they are not known, or
    lie on several slides."""
    patch_size: int | None = None
    """Side of a patch in level-0 pixels."""
    several: SlidesTogether | None = None
    """How several slides came together; None of one."""


def show_tokens(path: Path, tokens: Tensor) -> ShownSlides:
    """Show a slide's tokens that are made already.

    Args:
        path: Their file, which has the slide's name.
        tokens: The visual tokens [V, D].
    """
    return ShownSlides(path.stem, tokens, [path.stem] * len(tokens))


def show_slides(
    loaded: LoadedVqa, paths: Sequence[Path], several: SlidesTogether = "error"
) -> ShownSlides:
    """Make the visual tokens of one slide, or of several for the same question.

    Args:
        loaded: The model.
        paths: The patch features of each slide, in the order in which they are shown.
        several: How several slides become one input.

    Raises:
        UsageError: Several slides are given and not how they come together, a slide is given
            twice, the model cannot merge slides, or features are of another encoder.
        FeatureFileError: Features cannot be read, or there are none.
        FeatureDimError: Features are of another length than the model's.
    """
    check_slides(paths, several)
    if len(paths) > 1:
        _require_one_encoder(paths)
        if several == "merge":
            return _merged(loaded, paths)
    shown = [_show(loaded, path) for path in paths]
    if len(shown) == 1:
        return shown[0]
    places = [each.places for each in shown if each.places is not None]
    return ShownSlides(
        name_of(paths),
        torch.cat([each.visual for each in shown]),
        [slide for each in shown for slide in each.slides],
        places_side_by_side(places) if places else None,
        several=several,
    )


def check_slides(paths: Sequence[Path], several: SlidesTogether) -> None:
    """Refuse several slides that it is not known how to put together, or a slide that comes twice.

    Args:
        paths: The patch features of each slide, at least one.
        several: How several slides become one input.

    Raises:
        UsageError: The slides cannot be put together.
    """
    names = [path.stem for path in paths]
    if len(names) > 1 and several == "error":
        raise UsageError(
            f"{len(names)} slides are given, and not how they become one question",
            hint="--several merge makes one set of slots of all their patches, --several concat "
            "puts the tokens of one slide behind those of the other",
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two files are of the slide {twice[0]}", hint="give each slide once")


def _merged(loaded: LoadedVqa, paths: Sequence[Path]) -> ShownSlides:
    """Show the slots that the patches of all slides make together."""
    visual, name = require_merging(loaded.model.visual), name_of(paths)
    try:
        seen = see_merged(loaded, paths)
    except UnusableSlideError as error:
        raise FeatureFileError(error.path, str(error)) from None
    assert seen.sums is not None
    places = slot_places(visual, seen.sums, None, None)
    return ShownSlides(name, seen.tokens, [name] * len(seen.tokens), places, several="merge")


def _show(loaded: LoadedVqa, path: Path) -> ShownSlides:
    seen, (coords, patch_size) = _seen(loaded, path), _pixels(path)
    places = None
    if isinstance(loaded.model.visual, SlotVisual) and seen.sums is not None:
        where = None if coords is None else torch.from_numpy(coords)
        places = slot_places(loaded.model.visual, seen.sums, where, patch_size)
    names = [path.stem] * len(seen.tokens)
    return ShownSlides(path.stem, seen.tokens, names, places, coords, patch_size)


def _require_one_encoder(paths: Sequence[Path]) -> None:
    """Refuse features of different encoders, of which a run that names none knows nothing."""
    known: dict[str, Path] = {}
    for path in paths:
        with open_bag(path) as bag:
            if bag.encoder is not None:
                known.setdefault(bag.encoder, path)
    if len(known) > 1:
        (first, path), (second, other) = list(known.items())[:2]
        raise UsageError(
            f"{path} holds features of {first!r}, and {other} of {second!r}",
            hint="extract all slides with one encoder",
        )


def _seen(loaded: LoadedVqa, path: Path) -> SeenSlide:
    try:
        return see_slide(loaded, path)
    except UnusableSlideError as error:
        raise FeatureFileError(path, str(error)) from None


def _pixels(path: Path) -> tuple[NDArray[np.generic] | None, int | None]:
    """Return the patches' coordinates and the side of a patch; None unless in level-0 pixels."""
    with open_bag(path) as bag:
        if bag.coords_unit != "level0_px":
            return None, None
        return bag.read_coords(), bag.patch_size_level0
