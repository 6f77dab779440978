"""The device that work runs on, whose fallback is never silent; the number of its cores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tcssa.errors import DeviceError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> torch.device:
    """Return the torch device of a name.

    Args:
        name: ``cpu``, ``cuda``, ``mps``, or ``auto``: a GPU if there is one, else the CPU.

    Raises:
        DeviceError: The device is not available.
    """
    import torch

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


def num_cores() -> int:
    """Count the cores this process may use, fewer than the machine's in a container or a job."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
