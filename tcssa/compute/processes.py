"""Joint work of the processes of one training: add up, gather, wait.

With a single process nothing has to be sent, so a training is written once, for any number of
processes. `torchrun` starts them (`tcssa.compute.launcher`); GPUs communicate by NCCL, CPUs by
gloo.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
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

_LARGE = 2**18
"""Number of elements from which a tensor is sent on its own."""

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
        """Add up tensors over all processes; each gives as many, of the same shapes.

        A gradient passes unchanged: every process computes the same loss from the sums, and takes
        from it the part that its own summands have in it. Sums are made in float64, so a number
        that all but one process give as 0 arrives as it was.

        Raises:
            ProcessesError: Another process is gone.
        """
        if self.count == 1:
            return list(values)
        flat = torch.cat([value.double().flatten() for value in values])
        summed = _Sum.apply(flat)  # type: ignore[no-untyped-call]  # torch's apply has no types
        parts = torch.split(summed, [value.numel() for value in values])
        return [
            part.reshape(value.shape).to(value.dtype)
            for part, value in zip(parts, values, strict=True)
        ]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the sum of all gradients.

        A parameter that no process used keeps no gradient, as it would have none in a single
        process.

        Raises:
            ProcessesError: Another process is gone.
        """
        if self.count == 1:
            return
        parameters = list(parameters)
        is_used = [parameter.grad is not None for parameter in parameters]
        (uses,) = self.sum([torch.tensor(is_used, device=self.device)])
        gradients = []
        for parameter, is_used_anywhere in zip(parameters, uses.tolist(), strict=True):
            if is_used_anywhere:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        with _all_there():
            _sum_in_place(gradients)

    def share_parameters(self, model: nn.Module) -> None:
        """Give all processes the parameters of the first one's model."""
        if self.count > 1:
            with _all_there():
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
        with _all_there():
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


def _sum_in_place(tensors: Sequence[Tensor]) -> None:
    """Sum tensors over all processes, in place.

    Large ones are sent as they are, without a copy; small ones together, without a wait for each.
    """
    small = [tensor for tensor in tensors if tensor.numel() < _LARGE]
    sent = [
        distributed.all_reduce(tensor, async_op=True)
        for tensor in tensors
        if tensor.numel() >= _LARGE
    ]
    if small:
        flat = torch.cat([tensor.flatten() for tensor in small])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in small])
        for tensor, part in zip(small, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
    for work in sent:
        work.wait()


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient passes as it is (see `Processes.sum`)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # torch gives ctx no type
        """See `torch.autograd.Function.forward`."""
        summed = values.clone()
        with _all_there():
            distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """See `torch.autograd.Function.backward`."""
        return gradient


@contextmanager
def _all_there() -> Iterator[None]:
    """Turn a failure of the communication in the block into an error of ours."""
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
    with _all_there():
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
