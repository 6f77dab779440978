"""Workers that are actors of a Ray cluster, one for each GPU, or several on CPUs.

The dispatcher holds the list, and actors hold models; between them go names of slides and rows of
results, so nothing large is in Ray's object store. An actor that dies with its node is replaced by
one on whatever node is there, or comes.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from typing import Any, Literal

from tcssa.crew.dispatcher import GoneError, Worker
from tcssa.crew.member import Ends, Fails, Job, Message, serve
from tcssa.errors import DeviceError, MissingExtraError, ProcessesError, one_line

_FAILED_TO_BEGIN = "creation task"
"""What Ray says of an actor whose own code raised an error before it was there."""
_POLL_S = 5.0
"""How long an actor waits for something to tell, before it says that it lives."""


class RayActors:
    """Starts actors (see `tcssa.crew.dispatcher.Crew`).

    Args:
        address: The cluster: ``auto``, ``ray://host:10001``, or None for one of this machine alone.
        workers: Number of actors on CPUs; None takes one for each GPU of the cluster.
        cores: Cores of each actor.

    Raises:
        MissingExtraError: Ray is not installed.
        ProcessesError: The cluster cannot be reached.
        DeviceError: It has no GPU, and no number of workers was given.
    """

    most_false_starts = 12
    """Ray goes on placing actors on a node that is gone until it has noticed that."""

    def __init__(self, address: str | None, workers: int | None, cores: int = 1) -> None:
        self._ray = _connected(address)
        self.cores = cores
        self.device: Literal["cpu", "cuda"] = "cuda" if workers is None else "cpu"
        self.num_workers = workers or int(self._ray.cluster_resources().get("GPU", 0))
        if not self.num_workers:
            raise DeviceError(
                "the Ray cluster has no GPU", hint="--workers N starts actors on its CPUs"
            )

    def start(self, place: int, job: Job[Any, Any]) -> RayActor:
        """See `tcssa.crew.dispatcher.Crew.start`."""
        actor = self._ray.remote(_Actor).options(
            num_gpus=1 if self.device == "cuda" else 0,
            num_cpus=self.cores,
            max_concurrency=3,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(self.cores)}},
        )
        return RayActor(self._ray, f"actor {place + 1}", actor.remote(job))

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        """See `tcssa.crew.dispatcher.Crew.wait`."""
        by_news = {worker.news: worker for worker in workers if isinstance(worker, RayActor)}
        ready, _ = self._ray.wait(list(by_news), timeout=seconds, num_returns=1)
        return [by_news[news] for news in ready]


class RayActor:
    """An actor that works (see `tcssa.crew.dispatcher.Worker`)."""

    def __init__(self, ray: Any, name: str, actor: Any) -> None:
        self.name = name
        self._ray, self._actor = ray, actor
        self.news = actor.news.remote()

    def receive(self) -> Sequence[Message]:
        """See `tcssa.crew.dispatcher.Worker.receive`."""
        try:
            messages: Sequence[Message] = self._ray.get(self.news)
        except self._ray.exceptions.RayError as death:
            lines = str(death).strip().splitlines()
            if _FAILED_TO_BEGIN in lines[0]:  # no other node would help
                fault = ProcessesError(
                    f"{self.name} cannot begin ({one_line(lines[-1])})",
                    hint="every node needs the same tcssa, at the same paths",
                )
                return [Fails(fault)]
            raise GoneError(f"{type(death).__name__}: its process or its node is gone") from None
        if not any(isinstance(message, Ends | Fails) for message in messages):
            self.news = self._actor.news.remote()
        return messages

    def give(self, items: Sequence[Any]) -> None:
        """See `tcssa.crew.dispatcher.Worker.give`."""
        self._actor.give.remote(items)

    def stop(self) -> None:
        """See `tcssa.crew.dispatcher.Worker.stop`."""
        self._ray.kill(self._actor)


class _Actor:
    """The actor: its job runs in a thread, and calls bring items and fetch messages."""

    def __init__(self, job: Job[Any, Any]) -> None:
        self._said: queue.Queue[Message] = queue.Queue()
        self._given: queue.Queue[Sequence[Any]] = queue.Queue()
        threading.Thread(target=serve, args=(job, self), daemon=True).start()

    def send(self, message: Message) -> None:
        """See `tcssa.crew.member.Channel.send`."""
        self._said.put(message)

    def receive(self) -> Sequence[Any]:
        """See `tcssa.crew.member.Channel.receive`."""
        return self._given.get()

    def give(self, items: Sequence[Any]) -> None:
        """Bring items that the job asked for."""
        self._given.put(items)

    def news(self) -> list[Message]:
        """Return what the job has said since; wait a moment for something."""
        try:
            messages = [self._said.get(timeout=_POLL_S)]
        except queue.Empty:
            return []
        while not self._said.empty():
            messages.append(self._said.get())
        return messages


def _connected(address: str | None) -> Any:
    """Return Ray, connected to a cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        ProcessesError: The cluster cannot be reached.
    """
    # what Ray will do anyway for actors without a GPU; it warns each time until it is said
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "ray") from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ProcessesError(
                f"the Ray cluster {address or ''} cannot be reached ({one_line(error)})",
                hint="start it with ray start --head, or give --address ray://HOST:10001",
            ) from error
        # it prints the last log of a node that is lost on stdout, where --json has its result
        ray._private.worker._worker_logs_enabled = False
    return ray
