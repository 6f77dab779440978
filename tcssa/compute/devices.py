"""The device that work runs on, whose fallback is never silent; the number of its cores."""

from __future__ import annotations

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
    """Count the cores this process may use: those of a job, or a container's share of them."""
    from joblib import cpu_count  # knows affinity (Slurm) and cgroups (Kubernetes)

    return int(cpu_count())
