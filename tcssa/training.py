"""Rules that every training follows, of slide classifiers as of slide language models.

Random numbers follow from a seed and what they are for, so that a resumed training draws what an
undisturbed one draws. The rate rises, then falls as a cosine. A loss that is not finite ends the
training. A run that was begun goes on only with what it was made with.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tcssa.config.settings import Section, read_resolved
from tcssa.config.settings_diff import differences
from tcssa.errors import DivergedError, RunError
from tcssa.run import RUN_FILE, read_run


def seeded_number(*purpose: object) -> int:
    """Return a number below 2^64 that follows from a seed and from what it is for."""
    text = " ".join(str(part) for part in purpose)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def rise_and_fall(
    begun: float, warmup: float, step: float, total: float = 1
) -> tuple[float, float]:
    """Return the two factors of a step's learning rate: a linear warm-up, a cosine decay to 0.

    Args:
        begun: Share of the steps that count for the warm-up, this one included.
        warmup: Share of the steps in which the rate rises; 0 for none.
        step: Steps that were taken before this one.
        total: All steps; 1 where ``step`` is a share of them.
    """
    rise = min(1.0, begun / warmup) if warmup else 1.0
    return rise, 0.5 * (1 + math.cos(math.pi * step / total))


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a model computes: bfloat16 with ``bf16``, else as it is.

    Args:
        device: Device of the model.
        precision: ``fp32`` or ``bf16``.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def require_finite(loss: float, where: str, lr: float) -> float:
    """Return a loss that is a number.

    Args:
        loss: The loss.
        where: The training and how far it has come, the beginning of a sentence.
        lr: The peak learning rate, named in the hint.

    Raises:
        DivergedError: The loss is NaN or infinite.
    """
    if not math.isfinite(loss):
        hint = f"use a lower --lr than {lr:g}, and another --out"
        raise DivergedError(f"{where}: the loss is {loss}", hint=hint)
    return loss


class Interval:
    """A number of seconds that passes again and again, as between two checkpoints.

    Args:
        seconds: Its length.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def is_over(self) -> bool:
        """Tell whether the seconds have passed."""
        return time.monotonic() - self._began >= self._seconds

    def restart(self) -> None:
        """Begin anew, after what was due is done: its own time is none of the seconds."""
        self._began = time.monotonic()


def begun_run(out: Path, kind: str) -> dict[str, Any] | None:
    """Return the ``run.json`` of a training that was begun in a folder; None where none was.

    Args:
        out: The run directory.
        kind: The kind of run that it must be.

    Raises:
        RunError: It is a run of another kind, or damaged.
    """
    if not (out / RUN_FILE).exists():
        return None
    run = read_run(out)
    if run.get("kind") != kind:
        raise RunError(out, f"is a run of {run.get('kind')}", hint="give another --out")
    return run


def changed_settings(out: Path, settings: Section, free: Mapping[str, Iterable[str]]) -> list[str]:
    """Name the settings that differ from those that a run was begun with.

    Args:
        out: The run directory.
        settings: The settings now.
        free: Settings by section that may change, since they do not define the result.

    Raises:
        RunError: The run's settings are missing or damaged.
    """
    before = read_resolved(out, type(settings), RunError).model_dump(mode="json")
    after = settings.model_dump(mode="json")
    for section, names in free.items():
        for name in names:
            before[section].pop(name)
            after[section].pop(name)
    return differences(before, after)


def require_unchanged(out: Path, changed: Sequence[str]) -> None:
    """Refuse to go on with a run that was made with something else.

    Args:
        out: The run directory.
        changed: What differs, as `differences` names it.

    Raises:
        RunError: Something differs.
    """
    if changed:
        raise RunError(
            out,
            f"was made with other settings or files: {'; '.join(changed)}",
            hint="give another --out, or what it was made with",
        )
