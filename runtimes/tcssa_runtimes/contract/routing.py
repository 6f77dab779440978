"""The routing of a slide's patches, in the few bytes a patch that files of slots keep of it.

Shapes: N patches, T = top_k, K slots. Arrays are NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Routing:
    """Slots of each patch, how much it counts there, and where it lies."""

    slots: NDArray[Any]
    """Slots of each patch, most probable first, [N, T]; uint8, from 257 slots on uint16."""
    weights: NDArray[np.float16]
    """Routing probabilities P̃ of these slots, [N, T]."""
    salience: NDArray[np.float16] | None = None
    """Factor of each patch's weights in all sums, [N]; None where the model has none."""
    positions: NDArray[Any] | None = None
    """Positions of the patches as they were given, [N, 2]; None where none were."""

    @classmethod
    def of(
        cls,
        assignments: NDArray[Any],
        weights: NDArray[Any],
        salience: NDArray[Any] | None,
        positions: NDArray[Any] | None,
        num_slots: int,
    ) -> Self:
        """Return the routing of some patches.

        Args:
            assignments: Slots of each patch, [N, T].
            weights: Routing probabilities of these, [N, T].
            salience: Factor of each patch, [N], if the model has one.
            positions: Positions of the patches, [N, 2], if they are known.
            num_slots: K of the model.
        """
        return cls(
            assignments.astype(np.uint8 if num_slots <= 256 else np.uint16),
            weights.astype(np.float16),
            None if salience is None else salience.astype(np.float16),
            positions,
        )

    @classmethod
    def joined(cls, parts: Sequence[Routing]) -> Self:
        """Return the routing of a slide from that of its chunks, in order; at least one."""
        first = parts[0]
        return cls(
            np.concatenate([part.slots for part in parts]),
            np.concatenate([part.weights for part in parts]),
            _joined([part.salience for part in parts], first.salience),
            _joined([part.positions for part in parts], first.positions),
        )


def _joined(parts: Sequence[NDArray[Any] | None], first: NDArray[Any] | None) -> Any:
    return None if first is None else np.concatenate([part for part in parts if part is not None])
