"""What a patch encoder is, to those who use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Device = Literal["auto", "cpu", "cuda"]


class Encoder(Protocol):
    """A loaded encoder, on one device."""

    name: str
    feature_dim: int
    """Length D of a feature."""
    input_px: int
    """Side of the patches it takes."""
    weights_hash: str
    """Changes when the weights, and so the features, would."""
    device: str
    """``cpu`` or ``cuda``: where it truly runs."""
    batch_size: int
    """Patches a call that is quickest here."""

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode RGB patches ``[b, input_px, input_px, 3]`` into features ``[b, d]``."""


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder that is known but not loaded; enough to tell whether features are its own."""

    name: str
    weights_hash: str
    load: Callable[[Device], Encoder]
