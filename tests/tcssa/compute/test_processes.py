"""Several processes of one training: what they add up and what they refuse."""

import os
import sys
from pathlib import Path

import pytest
import torch
from python_processes import finish, start_together
from torch import nn

from tcssa.compute.processes import _OWN_FAULTS, all_there, joined
from tcssa.errors import DeviceError, ProcessesError, UsageError
from tcssa.mil.settings import MilSettings
from tcssa.mil.sweep.sweep import parse_axis, sweep
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


def layers_of(index: int) -> nn.ModuleList:
    """Three layers, with weights of each process's own."""
    torch.manual_seed(index)
    return nn.ModuleList(nn.Linear(40, 8) for _ in range(3))


def add_up(index: int) -> None:
    """Begin with the weights of the first of two processes, and add numbers up."""
    with joined("cpu") as processes:
        assert (processes.index, processes.count) == (index, 2)
        layers = layers_of(index)
        processes.share_parameters(layers)
        for value, first in zip(layers.parameters(), layers_of(0).parameters(), strict=True):
            assert value.equal(first)
        (summed,) = processes.sum([torch.tensor([1.0, index])])
        assert summed.tolist() == [2.0, 1.0]


def disagree(folder: Path) -> None:
    """Disagree twice: the second time shows that an error does not keep them from joining again."""
    said = []
    for what in ("numbers", "folders"):
        try:
            with joined("cpu") as processes:
                processes.require_same("constants", 7, "never")
                processes.require_same(what, processes.index, "count again")
        except ProcessesError as error:
            said.append(f"{error} ({error.hint})")
    (folder / f"said-{processes.index}.txt").write_text("\n".join(said))


if __name__ == "__main__":  # one of the two processes
    add_up(int(os.environ["RANK"]))
    disagree(Path(sys.argv[1]))
    with joined("cpu"):  # what an error left open would abort the process as it ends
        pass


def test_two_processes_add_up_and_tell_what_differs(tmp_path: Path) -> None:
    finish(start_together([__file__, str(tmp_path)]))
    for index in range(2):
        assert (tmp_path / f"said-{index}.txt").read_text().splitlines() == [
            f"the processes found different {what}: 0; 1 (count again)"
            for what in ("numbers", "folders")
        ]


@pytest.mark.parametrize("fault", _OWN_FAULTS)
def test_a_fault_of_the_own_gpu_is_not_put_on_others(fault: type[RuntimeError]) -> None:
    with pytest.raises(fault, match="illegal access"), all_there():
        raise fault("illegal access")


@pytest.mark.parametrize(
    ("name", "message"), [("cuda", "no GPU of its own"), ("mps", "not on mps")]
)
def test_a_process_without_a_device_of_its_own_is_refused(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: name == "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: name == "mps")
    for variable in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(variable, "1")
    for variable in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(variable, "2")
    with pytest.raises(DeviceError, match=message), joined(name):
        pass


def test_commands_of_one_process_refuse_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(variable, "2")
    with pytest.raises(UsageError, match="processes of its own"):
        sweep(MilSettings(), [parse_axis("num_slots=4")], tmp_path)
    with pytest.raises(UsageError, match="trains in one process"):
        train(MilSettings(), tmp_path, Silent())
