"""The choice of the device that work runs on; a fallback is never silent."""

from __future__ import annotations

import torch

from tcssa.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """Return the torch device of a name.

    Args:
        name: ``cpu``, ``cuda``, ``mps``, or ``auto``: a GPU if there is one, else the CPU.

    Raises:
        DeviceError: The device is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    if not available[name]:
        raise DeviceError(
            f"the device {name!r} was asked for and is not there",
            hint="use --device cpu; tcssa doctor tells what runs here",
        )
    return torch.device(name)
