"""What a patch encoder is, to those who use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tcssa.files.limits import Limit

if TYPE_CHECKING:
    from torch import nn

SIDE = Limit("TCSSA_MAX_ENCODER_SIDE", 8192, "pixels along the side of a patch")
"""Of an encoder that is read from files."""
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "float16", "bfloat16"]

_MPP_TOLERANCE = 0.1


class Encoder(Protocol):
    """A loaded encoder, on one device.

    One that has an attribute ``calls_at_once`` is called by so many threads at once; others by one.
    """

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
class Network:
    """A torch network and how it wants its pixels."""

    module: nn.Module
    """Normalised pixels [B, 3, H, W] to features [B, D]."""
    feature_dim: int
    input_px: int
    mean: Sequence[float]
    """Of each channel, in [0, 1]."""
    std: Sequence[float]
    """Deviation of each channel, in [0, 1]."""
    gpu_precision: Precision = "float32"
    """What matrix products are computed in on a GPU; on a CPU it is float32 always."""


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder that is known but not loaded; enough to tell whether features are its own."""

    name: str
    weights_hash: str
    load: Callable[[Device], Encoder]
    trained_mpp: tuple[float, ...] = ()
    """Resolutions it was trained at, in µm per pixel; empty where nobody says."""
    remarks: tuple[str, ...] = ()
    """What was assumed about it, each a line."""
    network: Callable[[], Network] | None = None
    """Makes its torch network, for an export; None for what is no torch network."""

    def doubts(self, mpp: float) -> list[str]:
        """What a user should know before trusting features made at ``mpp``."""
        found = list(self.remarks)
        off = [abs(mpp - trained) / trained for trained in self.trained_mpp]
        if off and min(off) > _MPP_TOLERANCE:
            known = " or ".join(f"{trained:g}" for trained in self.trained_mpp)
            found.append(
                f"{self.name} was trained at {known} µm per pixel; patches are read at {mpp:g}"
            )
        return found
