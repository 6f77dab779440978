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


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16 by itself, which no CPU counts as doing."""
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def memory_of(device: torch.device) -> int | None:
    """Return the bytes that this process can have on a device; None where that is not known.

    Of a GPU it is what other processes leave; of a CPU all of the machine's.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if device.type == "cpu" and hasattr(os, "sysconf"):  # Windows has none
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def num_cores() -> int:
    """Count the cores this process may use: those of a job, or a container's share of them."""
    from joblib import cpu_count  # knows affinity (Slurm) and cgroups (Kubernetes)

    return int(cpu_count())
