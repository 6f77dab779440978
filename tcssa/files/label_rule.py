"""The rule by which values of a picture are labels or background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.files.boundary import UnsoundError
from tcssa.files.mask_label import LABEL


class LabelRule:
    """Tells labels from background, and counts what could be told otherwise.

    Args:
        background: Labels of the background, written as `LABEL`; none for 0 in all channels, or of
            a palette for index 0 and those of its colour.
        chosen: Labels that count, written likewise; none for all but the background.
        palette: Colours ``[n, 3]`` of the indexes, where values are indexes of a palette.
    """

    def __init__(
        self,
        background: Sequence[str],
        chosen: Sequence[str],
        palette: NDArray[np.uint8] | None = None,
    ) -> None:
        self._background, self._chosen = background, chosen
        self._palette = palette
        self._is_plain = not background and not chosen
        self._num_of_index = np.zeros(256, np.int64)
        self._num_hidden = 0

    def inside(
        self, values: NDArray[Any], transparent: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_]:
        """Tell which pixels have a label that counts.

        Args:
            values: The values, ``[h, w, c]``.
            transparent: True where a pixel is transparent, ``[h, w]``: it has no label.

        Raises:
            UnsoundError: A label has not as many numbers as there are channels.
        """
        if self._background:
            inside = ~self._are(self._background, values)
        else:
            inside = np.ones(values.shape[:2], np.bool_) if self._chosen else self._own(values)
        if self._chosen:
            inside &= self._are(self._chosen, values)
        if transparent is not None:
            self._num_hidden += int(np.count_nonzero(inside & transparent))
            inside &= ~transparent
        if self._palette is not None:
            self._num_of_index += np.bincount(values.ravel(), minlength=256)
        return inside

    def doubts(self) -> list[str]:
        """Say what was read in one of two ways, in all values so far."""
        doubts = []
        if self._num_hidden:
            doubts.append(
                f"{self._num_hidden:,} pixels have a label and are transparent: they count as "
                "background"
            )
        if self._palette is not None and self._is_plain and self._num_of_index[0]:
            doubts += self._doubts_of_palette(self._palette)
        return doubts

    def _doubts_of_palette(self, palette: NDArray[np.uint8]) -> list[str]:
        is_black = np.zeros(256, np.bool_)
        is_black[: len(palette)] = ~palette.any(axis=1)
        if is_black[0]:
            return []
        colour = ",".join(map(str, palette[0].tolist()))
        doubt = (
            f"index 0 of its palette, colour {colour}, is taken for background: "
            f"{self._num_of_index[0]:,} of {self._num_of_index.sum():,} pixels"
        )
        num_black = int(self._num_of_index[is_black].sum())
        if num_black:
            doubt += f"; {num_black:,} black ones are not (--mask-background 0,0,0 reads it so)"
        return [doubt]

    def _own(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        if self._palette is None:
            return np.asarray((values > 0).any(axis=2))
        is_label = np.ones(256, np.bool_)
        is_label[: len(self._palette)] = (self._palette != self._palette[:1]).any(axis=1)
        is_label[0] = False
        return np.asarray(is_label[values[..., 0]])

    def _are(self, labels: Sequence[str], values: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which pixels have one of these labels."""
        found = np.zeros(values.shape[:2], np.bool_)
        for text in labels:
            if not LABEL.fullmatch(text):
                raise UnsoundError(f"its labels are numbers, and {text!r} is none")
            label = np.array(text.split(","), np.float64)
            stored = values
            if self._palette is not None and len(label) == self._palette.shape[1]:
                colours = np.zeros((256, 3), np.uint8)
                colours[: len(self._palette)] = self._palette
                stored = colours[values[..., 0]]
            if len(label) not in (1, stored.shape[2]):
                raise UnsoundError(
                    f"the label {text} has {len(label)} numbers, and each of its pixels "
                    f"{stored.shape[2]}"
                )
            found |= (stored == label).all(axis=2)
        return found
