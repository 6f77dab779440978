"""Joint work of the processes of one command: add up, gather, wait.

With a single process nothing has to be sent, so a training is written once, for any number of
processes. `torchrun` starts them (`tcssa.compute.launcher`); GPUs communicate by NCCL, CPUs by
gloo.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore

from tcssa.compute import launcher
from tcssa.compute.devices import resolve_device
from tcssa.errors import DeviceError, ProcessesError, one_line

_PATIENCE = timedelta(hours=2)
"""How long one waits for another, which may read a slow disk; a launcher ends those whose
partner died at once."""


_OWN_FAULTS = (
    torch.OutOfMemoryError,
    getattr(torch, "AcceleratorError", torch.OutOfMemoryError),  # came with torch 2.8
)
"""RuntimeErrors of this process's own GPU, which no other process has caused."""

Item = TypeVar("Item")
_meetings = itertools.count()


class Processes:
    """The processes of one training, seen from one of them.

    Args:
        device: Device that this process computes on.
        index: Number of this process, from 0; process 0 is the one that writes.
        count: Number of processes.
    """

    def __init__(self, device: torch.device, index: int = 0, count: int = 1) -> None:
        self.device, self.index, self.count = device, index, count

    @property
    def is_main(self) -> bool:
        """Tell whether this is the process that writes."""
        return self.index == 0

    def sum(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Add up tensors over all processes, in float64; each gives as many, of the same shapes.

        Raises:
            ProcessesError: Another process is gone.
        """
        if self.count == 1:
            return list(values)
        summed = torch.cat([value.double().flatten() for value in values])
        with all_there():
            distributed.all_reduce(summed)
        parts = torch.split(summed, [value.numel() for value in values])
        return [
            part.reshape(value.shape).to(value.dtype)
            for part, value in zip(parts, values, strict=True)
        ]

    def share_parameters(self, model: nn.Module) -> None:
        """Give all processes the parameters of the first one's model."""
        if self.count > 1:
            with all_there():
                for parameter in model.parameters():
                    distributed.broadcast(parameter.data, src=0)

    def gather(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        """Collect the items of every process, in the order of the processes.

        Raises:
            ProcessesError: Another process is gone.
        """
        if self.count == 1:
            return [items]
        gathered: list[Any] = [None] * self.count
        with all_there():
            distributed.all_gather_object(gathered, items)
        return gathered

    def wait(self) -> None:
        """Wait until all processes have arrived here.

        Raises:
            ProcessesError: Another process is gone.
        """
        self.gather([])

    def require_same(self, what: str, value: object, hint: str) -> None:
        """Require that all processes found the same.

        Args:
            what: Name of what is compared, in the plural, for the message.
            value: The value that this process found.
            hint: The next step where the values differ.

        Raises:
            ProcessesError: The processes found different values; the error lists them.
        """
        found = [value for (value,) in self.gather([value])]
        if any(other != value for other in found):
            raise ProcessesError(
                f"the processes found different {what}: {'; '.join(map(str, found))}",
                hint=hint,
            )


@contextmanager
def all_there() -> Iterator[None]:
    """Turn a failure of the communication in the block into an error of ours.

    Raises:
        ProcessesError: Another process is gone.
    """
    try:
        yield
    except _OWN_FAULTS:
        raise
    except RuntimeError as error:
        reason = one_line(error)
        raise ProcessesError(
            f"talking to the other processes of this training failed ({reason})",
            hint="see whether one ended, and how; the same command goes on at the last checkpoint",
        ) from error


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the other processes that a launcher started; run alone without one.

    Args:
        device: Name for `tcssa.compute.devices.resolve_device`; with several GPUs each process
            takes its own.

    Raises:
        DeviceError: The device is not available, or the machine has fewer GPUs than processes.
        ProcessesError: The other processes cannot be reached.
    """
    where, count = resolve_device(device), launcher.num_processes()
    if count == 1:
        yield Processes(where)
        return
    where = _own_device(where)
    if distributed.is_initialized():  # an error left it; see below
        distributed.destroy_process_group()
    with all_there():
        store = PrefixStore(f"tcssa/{next(_meetings)}", launcher.meeting_point())
        distributed.init_process_group(
            "nccl" if where.type == "cuda" else "gloo",
            store=store,
            rank=launcher.process_index(),
            world_size=count,
            timeout=_PATIENCE,
        )
    yield Processes(where, launcher.process_index(), count)
    # not after an error: when connections close, the others fail too, and the first to fail
    # tells why (`launcher.is_first_to_fail`)
    distributed.destroy_process_group()


def _own_device(device: torch.device) -> torch.device:
    """Return this process's GPU, or the CPU."""
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DeviceError(
            f"several processes train on CUDA or the CPU, not on {device.type}",
            hint="use --device cpu, or start one process",
        )
    index, there = launcher.local_index(), torch.cuda.device_count()
    if index >= there:
        raise DeviceError(
            f"process {index} of this machine has no GPU of its own: {there} there",
            hint="start as many processes as there are GPUs, or use --device cpu",
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
