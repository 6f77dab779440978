"""Patches that the gate sends to a slot with the greatest weight, and pictures of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.files import atomic
from tcssa.mil.slots.routed import RoutedSlide
from tcssa.mil.training.prototypes import PrototypePatch
from tcssa.slides.image.places import Places
from tcssa.slides.image.slide import Slide

PER_SLOT = 6
PER_SLIDE = 2
"""Most exemplars from one slide, so that no single slide fills a sheet."""
_CROP_PX, _GAP_PX, _LABEL_PX = 104, 4, 118
_BLOCKS = 2
"""Number of slots side by side on a sheet."""

PROTOTYPE = -1

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Exemplar:
    """A patch that represents a slot."""

    fold: int
    slot: int
    rank: int
    """Rank among the slot's exemplars by falling weight, from 0; `PROTOTYPE` for the training patch
    nearest to the prototype that the slot was initialised with."""
    slide_id: str
    patch: int
    """Row of the patch in the slide's features."""
    weight: float | None
    """Gate weight; None for the training patch that stands for the slot's prototype."""
    corner: tuple[int, int] | None = None
    """Top-left corner (x, y) in level-0 pixels; None where it is not known."""
    side: int | None = None


def choose_exemplars(slides: Sequence[RoutedSlide], places: Mapping[str, Places]) -> list[Exemplar]:
    """Choose the patches with the greatest weight of every slot of a fold, over its test slides.

    Args:
        slides: The fold's test slides.
        places: Patch locations by slide_id, for the slides whose coordinates are known.
    """
    candidates: dict[int, list[tuple[float, str, int]]] = defaultdict(list)
    for routed in slides:
        for slot in np.unique(routed.slots).tolist():
            weights = routed.weight_in(slot)
            for patch in np.argsort(-weights, kind="stable")[:PER_SLIDE].tolist():
                if weights[patch] > 0:
                    found = (float(weights[patch]), routed.slide.slide_id, patch)
                    candidates[slot].append(found)
    exemplars = []
    for slot, rows in sorted(candidates.items()):
        best = sorted(rows, key=lambda row: (-row[0], row[1], row[2]))[:PER_SLOT]
        for rank, (weight, slide_id, patch) in enumerate(best):
            where = _where(places, slide_id, patch)
            exemplars.append(Exemplar(slides[0].fold, slot, rank, slide_id, patch, weight, *where))
    return exemplars


def prototype_exemplars(
    prototypes: Sequence[PrototypePatch], fold: int, places: Mapping[str, Places]
) -> list[Exemplar]:
    """Return the patches that a fold's slots were initialised from, as exemplars of these slots.

    Args:
        prototypes: The fold's prototype patches, of training slides.
        fold: The fold.
        places: Patch locations by slide_id, for the slides whose coordinates are known.
    """
    return [
        Exemplar(
            fold, each.slot, PROTOTYPE, each.slide_id, each.patch, None,
            *_where(places, each.slide_id, each.patch),
        )
        for each in prototypes
    ]  # fmt: skip


def _where(
    places: Mapping[str, Places], slide_id: str, patch: int
) -> tuple[tuple[int, int] | None, int | None]:
    """Return the corner and the side of a patch in level-0 pixels, if they are known."""
    if slide_id not in places or not 0 <= patch < len(places[slide_id].coords):
        return None, None
    x, y = places[slide_id].coords[patch].tolist()
    return (round(x), round(y)), places[slide_id].side


def crop_exemplars(
    exemplars: Sequence[Exemplar], slides: Mapping[str, Path]
) -> tuple[dict[Exemplar, Pixels], dict[str, str]]:
    """Read the pictures of exemplars from the slide files.

    Args:
        exemplars: Exemplars; those without a known corner are left out.
        slides: Slide files by slide_id; exemplars of other slides are left out.

    Returns:
        The pictures, and by slide_id the reason why a slide could not be read.
    """
    crops: dict[Exemplar, Pixels] = {}
    failed: dict[str, str] = {}
    by_slide: dict[str, list[Exemplar]] = defaultdict(list)
    for exemplar in exemplars:
        if exemplar.corner is not None and exemplar.slide_id in slides:
            by_slide[exemplar.slide_id].append(exemplar)
    for slide_id, wanted in by_slide.items():
        try:
            with Slide(slides[slide_id]) as slide:
                for exemplar in wanted:
                    assert exemplar.corner is not None
                    assert exemplar.side is not None
                    crops[exemplar] = slide.read_patch(*exemplar.corner, exemplar.side, _CROP_PX)
        except SlideError as error:
            failed[slide_id] = error.reason
    return crops, failed


def write_sheet(
    path: Path, crops: Mapping[Exemplar, Pixels], slots: Sequence[int], share: NDArray[np.float64]
) -> None:
    """Write one JPEG: a row a slot, its prototype's patch and its exemplars by falling weight.

    Args:
        path: The file.
        crops: Pictures of one fold's exemplars.
        slots: Slots in the order of the rows; those without a picture are left out.
        share: Each slot's share of the fold's mass, [K], which is written beside it.
    """
    by_slot: dict[int, list[Exemplar]] = defaultdict(list)
    for exemplar in crops:
        by_slot[exemplar.slot].append(exemplar)
    shown = [slot for slot in slots if slot in by_slot]
    step = _CROP_PX + _GAP_PX
    num_rows = -(-len(shown) // _BLOCKS)
    width = _LABEL_PX + (1 + PER_SLOT) * step + 4 * _GAP_PX
    blocks = min(_BLOCKS, len(shown))
    sheet = np.full((num_rows * step + _GAP_PX, blocks * width, 3), 255, np.uint8)
    for number, slot in enumerate(shown):
        left, top = number // num_rows * width, number % num_rows * step + _GAP_PX
        _write(sheet, f"slot {slot}", left + 8, top + 48, 0.55)
        _write(sheet, f"{share[slot]:.1%} of mass", left + 8, top + 68, 0.4)
        for exemplar in by_slot[slot]:
            x = left + _LABEL_PX
            if exemplar.rank != PROTOTYPE:  # the prototype stands a little apart
                x += (1 + exemplar.rank) * step + 2 * _GAP_PX
            sheet[top : top + _CROP_PX, x : x + _CROP_PX] = crops[exemplar]
    bgr = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    atomic.write_bytes(path, encoded.tobytes())


def _write(sheet: Pixels, text: str, x: int, y: int, size: float) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (40, 40, 40), 1, cv2.LINE_AA)
