"""Checkpoint of a training: the trained tensors with AdamW's two moments, and the figures.

Batches, rates and random numbers follow from the step's number, so nothing else needs to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from tcssa.compressor.checkpoint import read_tensors, require_fit, write_tensors
from tcssa.errors import CheckpointError
from tcssa.files.boundary import reading
from tcssa.vqa.training.history import Record

PROGRESS_FILE = "progress.safetensors"
_MOMENTS = _FIRST, _SECOND = "adamw.first.", "adamw.second."
_ANOTHER_OUT = "it is of another training, or damaged: give another --out"


@dataclass
class Progress:
    """The state of a training after a whole step."""

    step: int = 0
    records: list[Record] = field(default_factory=list)
    best_step: int | None = None
    best_val_loss: float | None = None
    loss_sum: float = 0.0
    """Summed since the last record, as are the next three."""
    num_targets: int = 0
    aux_sum: float = 0.0
    num_steps: int = 0
    total_tokens: int = 0
    """Tokens of all steps, padding left out."""
    seconds: float = 0.0
    """Spent on steps, over all starts."""

    @property
    def tokens_per_s(self) -> float:
        """Tokens that went through the model per second."""
        return self.total_tokens / self.seconds if self.seconds else 0.0


def write_progress(
    folder: Path,
    progress: Progress,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write the checkpoint of a training, atomically.

    Args:
        folder: The run directory.
        progress: The state to write.
        parameters: The trained parameters by name.
        optimiser: Their AdamW, which has taken a step.
    """
    tensors: dict[str, Tensor] = {name: value.detach() for name, value in parameters.items()}
    for name, parameter in parameters.items():
        state = optimiser.state[parameter]
        tensors |= {f"{_FIRST}{name}": state["exp_avg"], f"{_SECOND}{name}": state["exp_avg_sq"]}
    facts = {**vars(progress), "records": [record.model_dump() for record in progress.records]}
    write_tensors(folder / PROGRESS_FILE, tensors, facts)


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
    expected = {
        f"{kind}{name}": value for name, value in parameters.items() for kind in ("", *_MOMENTS)
    }
    require_fit(expected, tensors, path, _ANOTHER_OUT)
    with reading(path, CheckpointError, hint=_ANOTHER_OUT):
        progress = TypeAdapter(Progress).validate_python(facts)
    load_weights(parameters, {name: tensors[name] for name in parameters}, path)
    for name, parameter in parameters.items():
        optimiser.state[parameter] = {
            "step": torch.tensor(float(progress.step)),
            "exp_avg": tensors[f"{_FIRST}{name}"].to(parameter.device),
            "exp_avg_sq": tensors[f"{_SECOND}{name}"].to(parameter.device),
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
        parameter.copy_(tensors[name])
