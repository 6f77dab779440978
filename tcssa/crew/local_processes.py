"""Workers that are processes of this machine: one for each GPU, or several on the CPU."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from tcssa.compute.devices import num_cores
from tcssa.crew.dispatcher import GoneError, Worker
from tcssa.crew.member import Job, Message, serve
from tcssa.errors import DeviceError, UsageError, counted
from tcssa.files.output_folder import Forwarded

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Seat:
    """A worker's share of the machine."""

    name: str
    gpu: str
    """The GPU, as ``CUDA_VISIBLE_DEVICES`` names it; empty on the CPU."""


class LocalProcesses:
    """Starts a process for each seat (see `tcssa.crew.dispatcher.Crew`).

    Args:
        seats: The seats.
        forwarded: How the files that the processes write go on.
    """

    most_false_starts = 3

    def __init__(self, seats: Sequence[Seat], forwarded: Forwarded | None = None) -> None:
        self.num_workers = len(seats)
        self.device: Literal["cpu", "cuda"] = "cuda" if seats[0].gpu else "cpu"
        self.cores = max(1, num_cores() // len(seats))
        self._seats, self._forwarded = seats, forwarded
        # a new interpreter for each: CUDA and threads do not survive a fork
        self._context = multiprocessing.get_context("spawn")

    def start(self, place: int, job: Job[Any, Any]) -> LocalProcess:
        """Start the process of a seat; see `tcssa.crew.dispatcher.Crew.start`."""
        seat = self._seats[place]
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve,
            args=(theirs, job, self._forwarded),
            name=seat.name,
            daemon=True,
        )
        # read when an interpreter starts: too late once it runs
        with _environment({_VISIBLE: seat.gpu, "OMP_NUM_THREADS": str(self.cores)}):
            process.start()
        theirs.close()
        return LocalProcess(seat.name, process, ours)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        """See `tcssa.crew.dispatcher.Crew.wait`."""
        by_pipe = {worker.pipe: worker for worker in workers if isinstance(worker, LocalProcess)}
        return [by_pipe[pipe] for pipe in wait(list(by_pipe), seconds)]  # type: ignore[index]


class LocalProcess:
    """A process that works (see `tcssa.crew.dispatcher.Worker`)."""

    def __init__(self, name: str, process: Any, pipe: Connection) -> None:
        self.name, self.pipe = name, pipe
        self._process = process

    def receive(self) -> list[Message]:
        """See `tcssa.crew.dispatcher.Worker.receive`."""
        try:
            return [self.pipe.recv()]
        except (EOFError, OSError):
            self._process.join()
            raise GoneError(_ending(self._process.exitcode)) from None

    def give(self, items: Sequence[Any]) -> None:
        """See `tcssa.crew.dispatcher.Worker.give`."""
        with suppress(OSError):  # it died meanwhile, which `receive` will tell
            self.pipe.send(items)

    def stop(self) -> None:
        """See `tcssa.crew.dispatcher.Worker.stop`."""
        self._process.terminate()
        self._process.join()
        self.pipe.close()


def gpu_seats(wanted: str) -> list[Seat]:
    """Return a seat for each GPU.

    Args:
        wanted: ``all``, or numbers of GPUs from 0, as ``0,1``.

    Raises:
        UsageError: The text is neither.
        DeviceError: There is no such GPU.
    """
    there = _gpus()
    if wanted == "all":
        numbers = list(range(len(there)))
    elif all(part.strip().isdecimal() for part in wanted.split(",")):
        numbers = sorted({int(part) for part in wanted.split(",")})
    else:
        raise UsageError(
            f"--gpus takes all, or numbers as 0,1; got {wanted!r}", hint="see nvidia-smi"
        )
    if not there or numbers[-1] >= len(there):
        raise DeviceError(
            f"--gpus {wanted}: this machine has {counted(len(there), 'GPU')} that torch can use",
            hint="tcssa doctor tells what runs here; --workers N starts processes on the CPU",
        )
    return [Seat(f"GPU {n}", there[n]) for n in numbers]


def cpu_seats(number: int) -> list[Seat]:
    """Return so many seats on the CPU."""
    return [Seat(f"worker {n + 1}", gpu="") for n in range(number)]


def _gpus() -> list[str]:
    """Return the GPUs that torch can use, each as ``CUDA_VISIBLE_DEVICES`` names it."""
    import torch

    number = torch.cuda.device_count()
    visible = os.environ.get(_VISIBLE)
    names = [str(n) for n in range(number)] if visible is None else visible.split(",")
    return names[:number]


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a process that is started in this block."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"by signal {signal.Signals(-code).name}"
    return f"exit code {code}"


class _Pipe:
    """The worker's end of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        with self._sending, suppress(OSError):
            self._pipe.send(message)

    def receive(self) -> Sequence[Any]:
        try:
            items: Sequence[Any] = self._pipe.recv()
        except (EOFError, OSError):
            return []
        return items


def _serve(pipe: Connection, job: Job[Any, Any], forwarded: Forwarded | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the dispatcher's to answer
    with nullcontext() if forwarded is None else forwarded.here():
        serve(job, _Pipe(pipe))
