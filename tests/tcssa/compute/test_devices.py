"""A device that is not there is an error, and never another device."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tcssa.compute.devices import has_bf16, memory_of, num_cores, resolve_device
from tcssa.errors import DeviceError

CPU = torch.device("cpu")


def test_auto_takes_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, taken in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert resolve_device("auto").type == taken


def test_a_missing_device_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="'cuda' was asked for and is not there"):
        resolve_device("cuda")


def test_a_cpu_has_no_bf16_of_its_own_and_all_memory_of_the_machine() -> None:
    assert not has_bf16(CPU)
    found = memory_of(CPU)
    assert found is not None
    total = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) * 1024
    assert found == pytest.approx(total, rel=0.01)


def test_cores_are_those_that_the_process_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from tcssa.compute.devices import num_cores; print(num_cores())"
    )
    one = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert one.stdout.strip() == "1"
    assert num_cores() >= 1
