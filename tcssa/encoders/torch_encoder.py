"""Encoders that run in eager torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tcssa.encoders.base import Device, EncoderSpec, Network, Precision

if TYPE_CHECKING:
    from torch import Tensor

_CPU_BATCH, _CUDA_BATCH = 8, 64


def torch_spec(
    name: str,
    weights_hash: str,
    network: Callable[[], Network],
    *,
    trained_mpp: tuple[float, ...] = (),
    remarks: tuple[str, ...] = (),
) -> EncoderSpec:
    """Describe an encoder that is a torch network.

    Args:
        name: The encoder's name.
        weights_hash: Hash that changes with the weights.
        network: Builds the network; called when the encoder is loaded.
        trained_mpp: See `EncoderSpec`.
        remarks: See `EncoderSpec`.
    """

    def load(device: Device) -> TorchEncoder:
        from tcssa.compute.devices import resolve_device

        resolved = resolve_device(device).type
        return TorchEncoder(name, network(), weights_hash=weights_hash, device=resolved)

    return EncoderSpec(name, weights_hash, load, trained_mpp, remarks, network)


class TorchEncoder:
    """See `tcssa.encoders.base.Encoder`.

    Args:
        name: The encoder's name.
        network: The network and the normalisation of its pixels.
        weights_hash: Hash that changes with the weights.
        device: Where to run: ``cpu`` or ``cuda``.
    """

    def __init__(self, name: str, network: Network, *, weights_hash: str, device: str) -> None:
        from tcssa.encoders.pixels import PixelsToFeatures

        self.name = name
        self.weights_hash = weights_hash
        self.device = device
        self.input_px = network.input_px
        self.feature_dim = network.feature_dim
        self.batch_size = _CUDA_BATCH if device == "cuda" else _CPU_BATCH
        self._precision = network.gpu_precision
        self._module = PixelsToFeatures(network).to(device)

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode RGB patches ``[b, input_px, input_px, 3]`` into features ``[b, d]``."""
        import torch

        with torch.inference_mode(), _computing_in(self._precision, self.device):
            features: Tensor = self._module(torch.from_numpy(patches).to(self.device))
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result


def _computing_in(precision: Precision, device: str) -> AbstractContextManager[object]:
    """Compute in the given precision on a GPU; weights stay float32."""
    import torch

    if device != "cuda" or precision == "float32":
        return nullcontext()
    return torch.autocast(device, dtype=getattr(torch, precision))
