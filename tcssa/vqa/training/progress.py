"""Checkpoint of a training: the trained tensors with AdamW's two moments, and the figures.

Batches, rates and random numbers follow from the step's number, so nothing else needs to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import ConfigDict, TypeAdapter
from torch import Tensor, nn

from tcssa.compressor.checkpoint import read_tensors, require_fit, write_tensors
from tcssa.errors import CheckpointError
from tcssa.files.boundary import reading
from tcssa.vqa.training.acceleration import like, whole
from tcssa.vqa.training.history import Record

PROGRESS_FILE = "progress.safetensors"
_MOMENTS = _FIRST, _SECOND = "adamw.first.", "adamw.second."
_ANOTHER_OUT = "it is of another training, or damaged: give another --out"


@dataclass
class Progress:
    """The state of a training after a whole step."""

    step: int = 0
    records: list[Record] = field(default_factory=list)
    kept: dict[int, float] = field(default_factory=dict)
    """Validation loss by step of the weights that are kept, the best first."""
    loss_sum: float = 0.0
    """Summed since the last record, as are the next three."""
    num_targets: int = 0
    aux_sum: float = 0.0
    num_steps: int = 0
    total_tokens: int = 0
    """Tokens of all steps, padding left out."""
    seconds: float = 0.0
    """Spent on steps, over all starts."""
    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss; None before the first validation."""
        return next(iter(self.kept), None)

    @property
    def best_val_loss(self) -> float | None:
        """The lowest validation loss; None before the first validation."""
        return next(iter(self.kept.values()), None)

    @property
    def tokens_per_s(self) -> float:
        """Tokens that went through the model per second."""
        return self.total_tokens / self.seconds if self.seconds else 0.0


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that train, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def checkpoint_tensors(
    parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, whole; all processes must call this.

    Args:
        parameters: The trained parameters by name.
        optimiser: Their AdamW. A parameter that no gradient has reached has no moments.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[name] = whole(parameter.detach())
        if state := optimiser.state.get(parameter):
            tensors[f"{_FIRST}{name}"] = whole(state["exp_avg"])
            tensors[f"{_SECOND}{name}"] = whole(state["exp_avg_sq"])
    return tensors


def write_progress(folder: Path, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
    """Write the checkpoint of a training, atomically.

    Args:
        folder: The run directory.
        progress: The state to write.
        tensors: The tensors of the checkpoint.
    """
    facts = {**vars(progress), "records": [record.model_dump() for record in progress.records]}
    write_tensors(folder / PROGRESS_FILE, dict(tensors), facts)


def read_progress(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> Progress | None:
    """Load a checkpoint into the parameters and their optimiser.

    Args:
        folder: The run directory.
        parameters: The parameters to overwrite, by name.
        optimiser: Their AdamW, whose moments are replaced.

    Returns:
        The state of the training; None where there is no checkpoint.

    Raises:
        CheckpointError: The file is broken, or of another training.
    """
    path = folder / PROGRESS_FILE
    if not path.exists():
        return None
    tensors, facts = read_tensors(path)
    moved = [name for name in parameters if any(f"{kind}{name}" in tensors for kind in _MOMENTS)]
    moments = {f"{kind}{name}": parameters[name] for name in moved for kind in _MOMENTS}
    require_fit({**parameters, **moments}, tensors, path, _ANOTHER_OUT)
    with reading(path, CheckpointError, hint=_ANOTHER_OUT):
        progress = TypeAdapter(Progress).validate_python(facts)
    load_weights(parameters, {name: tensors[name] for name in parameters}, path)
    for name in moved:
        parameter = parameters[name]
        optimiser.state[parameter] = {
            "step": torch.tensor(float(progress.step)),
            "exp_avg": like(tensors[f"{_FIRST}{name}"], parameter),
            "exp_avg_sq": like(tensors[f"{_SECOND}{name}"], parameter),
        }
    return progress


@torch.no_grad()
def load_weights(
    parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Copy the tensors of a file into the parameters of the same names.

    Args:
        parameters: The parameters to overwrite, by name.
        tensors: The tensors, by the same names.
        path: The file they come from, named in errors.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    require_fit(parameters, tensors, path)
    for name, parameter in parameters.items():
        parameter.copy_(like(tensors[name], parameter))
