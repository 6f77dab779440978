"""Options of commands that several workers can share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from rich.console import Console

from tcssa.config.settings import Section
from tcssa.errors import UsageError, counted
from tcssa_cli.settings_flags import Flags

if TYPE_CHECKING:
    from tcssa.crew.dispatcher import Crew
    from tcssa.crew.shares import Share
    from tcssa.files.output_folder import Forwarded


class CrewOptions(Section):
    """The workers that share the slides."""

    gpus: str | None = Field(
        default=None,
        description="GPUs to use, all or 0,1,…: a process for each, and every one takes the next "
        "slide. [default: one process]",
    )
    workers: int | None = Field(
        default=None, ge=1, description="The same with so many processes on the CPU."
    )
    engine: Literal["processes", "ray"] = Field(
        default="processes",
        description="processes: of this machine. ray: actors of a Ray cluster, one for each of "
        "its GPUs, or --workers of them on CPUs; they need the same paths.",
    )
    address: str | None = Field(
        default=None,
        description="The Ray cluster: auto, or ray://HOST:10001. [default: one of this machine]",
    )


CREW = Flags(CrewOptions, at="crew", panel="Several workers")


def crew_of(options: CrewOptions, device: str, out: Path) -> Crew | None:
    """Return the workers; None where this process works alone.

    Args:
        options: The command's options.
        device: What ``--device`` says.
        out: The folder that they write to, as `tcssa.files.output_folder` yields it.

    Raises:
        UsageError: The options contradict each other, or actors of a Ray cluster would write to an
            address.
        DeviceError: A GPU that is asked for is not there.
    """
    if options.gpus is not None and options.workers is not None:
        raise UsageError(
            "--gpus and --workers were both given", hint="--gpus is for GPUs, --workers for the CPU"
        )
    from tcssa.files.output_folder import Forwarded

    crew = _crew(options, Forwarded.like(out))
    if crew is not None and device not in ("auto", crew.device):
        raise UsageError(
            f"--device {device} contradicts workers on {crew.device}", hint="leave --device out"
        )
    return crew


def _crew(options: CrewOptions, forwarded: Forwarded) -> Crew | None:
    if options.engine == "ray":
        if forwarded.address is not None:
            raise UsageError(
                "--engine ray writes to a folder that all its nodes see, not to an address",
                hint="give such a folder, or each host the command without --engine: those that "
                "share an address of S3 divide the slides",
            )
        if options.gpus not in (None, "all"):
            raise UsageError("--gpus of a Ray cluster are all of them", hint="leave --gpus out")
        from tcssa.crew.ray_actors import RayActors

        return RayActors(options.address, options.workers)
    if options.address is not None:
        raise UsageError("--address is of a Ray cluster", hint="give --engine ray with it")
    if options.workers is not None:
        from tcssa.crew.local_processes import LocalProcesses, cpu_seats

        return LocalProcesses(cpu_seats(options.workers), forwarded)
    if options.gpus is not None:
        from tcssa.crew.local_processes import LocalProcesses, gpu_seats

        return LocalProcesses(gpu_seats(options.gpus), forwarded)
    return None


def where_workers_find(place: str, options: CrewOptions) -> str:
    """Return a place on disk as all workers find it: on a cluster, by its whole path.

    Args:
        place: A path, a pattern or an address.
        options: The command's options.
    """
    return str(Path(place).absolute()) if options.engine == "ray" and "://" not in place else place


def where_workers_write(folder: Path, options: CrewOptions) -> Path:
    """Return a folder to write to as all workers find it.

    Args:
        folder: The folder.
        options: The command's options.
    """
    return Path(where_workers_find(str(folder), options))


def show_shares(console: Console, shares: list[Share]) -> None:
    """Print what each worker did.

    Args:
        console: The console to print on.
        shares: The workers.
    """
    if shares:
        parts = (
            f"{share.worker} {counted(share.num_slides, 'slide')}"
            + (" (died)" if share.died else "")
            for share in shares
        )
        console.print(f"workers: {', '.join(parts)}", soft_wrap=True)


def shares_data(shares: list[Share]) -> list[dict[str, Any]]:
    """Return what ``--json`` prints of the workers."""
    return [
        {"worker": share.worker, "slides": share.num_slides, "died": share.died} for share in shares
    ]
