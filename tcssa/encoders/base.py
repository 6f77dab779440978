"""The interface of a patch encoder."""

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
"""Largest input of an encoder that is read from files."""
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "float16", "bfloat16"]

_MPP_TOLERANCE = 0.1


class Encoder(Protocol):
    """A loaded encoder, on one device.

    An encoder with an attribute ``calls_at_once`` is called by that many threads at once, any other
    by one thread.
    """

    name: str
    feature_dim: int
    """Length D of a feature."""
    input_px: int
    """Side of the patches it takes, in pixels."""
    weights_hash: str
    """Changes when the weights, and so the features, would."""
    device: str
    """``cpu`` or ``cuda``: where it actually runs."""
    batch_size: int
    """Number of patches per call that is fastest on this device."""

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode RGB patches ``[b, input_px, input_px, 3]`` into features ``[b, d]``."""


@dataclass(frozen=True)
class Network:
    """A torch network and the normalisation of its pixels."""

    module: nn.Module
    """Normalised pixels [B, 3, H, W] to features [B, D]."""
    feature_dim: int
    input_px: int
    mean: Sequence[float]
    """Mean of each channel, in [0, 1]."""
    std: Sequence[float]
    """Deviation of each channel, in [0, 1]."""
    gpu_precision: Precision = "float32"
    """Format of matrix products on a GPU; on a CPU it is always float32."""


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder that is not loaded yet; enough to tell whether features were made by it."""

    name: str
    weights_hash: str
    load: Callable[[Device], Encoder]
    trained_mpp: tuple[float, ...] = ()
    """Resolutions it was trained at, in µm per pixel; empty if unknown."""
    remarks: tuple[str, ...] = ()
    """Assumptions made about it, one line each."""
    network: Callable[[], Network] | None = None
    """Builds its torch network, for an export; None if it is no torch network."""

    def doubts(self, mpp: float) -> list[str]:
        """List what a user should know before trusting features made at ``mpp`` µm per pixel."""
        found = list(self.remarks)
        off = [abs(mpp - trained) / trained for trained in self.trained_mpp]
        if off and min(off) > _MPP_TOLERANCE:
            known = " or ".join(f"{trained:g}" for trained in self.trained_mpp)
            found.append(
                f"{self.name} was trained at {known} µm per pixel; patches are read at {mpp:g}"
            )
        return found
