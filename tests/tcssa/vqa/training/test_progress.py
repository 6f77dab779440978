"""The checkpoint of a training: taken up as it was, and never where it does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError
from tcssa.vqa.training.progress import (
    PROGRESS_FILE,
    Progress,
    checkpoint_tensors,
    read_progress,
    write_progress,
)


def trained() -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return dict(model.named_parameters()), optimiser


def test_a_training_is_taken_up_as_it_was(tmp_path: Path) -> None:
    assert read_progress(tmp_path, *trained()) is None
    parameters, optimiser = trained()
    progress = Progress(step=5, kept={3: 0.5, 1: 0.75}, seconds=2.5)
    write_progress(tmp_path, progress, checkpoint_tensors(parameters, optimiser))
    others, other_optimiser = trained()
    with torch.no_grad():
        others["weight"].zero_()
    assert read_progress(tmp_path, others, other_optimiser) == progress
    assert (progress.best_step, progress.best_val_loss) == (3, 0.5)
    assert torch.equal(others["weight"], parameters["weight"])
    found = other_optimiser.state[others["weight"]]
    assert torch.equal(found["exp_avg"], optimiser.state[parameters["weight"]]["exp_avg"])
    assert found["step"] == 5


def test_a_parameter_that_no_gradient_has_reached_has_no_moments(tmp_path: Path) -> None:
    parameters, optimiser = trained()
    del optimiser.state[parameters["bias"]]
    write_progress(tmp_path, Progress(step=5), checkpoint_tensors(parameters, optimiser))
    others, other_optimiser = trained()
    other_optimiser.state.clear()
    read_progress(tmp_path, others, other_optimiser)
    assert torch.equal(others["bias"], parameters["bias"])
    assert others["weight"] in other_optimiser.state
    assert others["bias"] not in other_optimiser.state


@pytest.mark.parametrize(
    ("tensors", "facts"),
    [
        ({"weight": torch.ones(1)}, {}),  # it could be spread over the parameter
        ({"adamw.first.bias": torch.ones(1)}, {}),
        ({"more": torch.ones(1)}, {}),
        ({}, {"step": "x"}),
        ({}, {"records": 1}),
        ({}, {"records": [{"step": 1}]}),
        ({}, {"kept": [1]}),
        ({}, {"best_step": 1}),  # as older versions named it
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path, tensors: dict[str, Any], facts: dict[str, Any]
) -> None:
    write_progress(tmp_path, Progress(), checkpoint_tensors(*trained()))
    path = tmp_path / PROGRESS_FILE
    written, noted = read_tensors(path)
    write_tensors(path, written | tensors, noted | facts)
    with pytest.raises(CheckpointError, match=r"progress\.safetensors") as caught:
        read_progress(tmp_path, *trained())
    assert caught.value.hint is not None
    assert "--out" in caught.value.hint
