"""Training as it is called: however a step is cut, killed or shared, the weights are the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from factories import make_compressor, write_bag
from python_processes import finish as finish_all
from python_processes import start_together
from safetensors.torch import load_file
from torch import Tensor

from tcssa.compressor import save_compressor
from tcssa_cli.main import run

COMMAND = "from tcssa_cli.main import main; main()"
APART = "import os; os.chdir(os.environ['RANK']); "
"""Before the command: every process has a folder of its own."""
WEIGHTS = "projector.safetensors"


@pytest.fixture(scope="module")
def material(tiny_llm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    rows = []
    for i in range(8):
        slide = f"TCGA-AA-{i:04d}-01Z-00-DX1"
        write_bag(folder / "features" / f"{slide}.h5", 20 + i, seed=i)
        answer = "odd" if i % 2 else "an even number, that is what it is"
        said = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": answer}]
        rows.append({"id": str(i), "image": [slide], "conversations": said})
    (folder / "data.json").write_text(json.dumps(rows))
    save_compressor(make_compressor(), folder / "compressor.safetensors")
    (folder / "llm").symlink_to(tiny_llm_folder)
    return folder


def words(material: Path, out: Path, *more: object) -> list[str]:
    given = [
        "train-vqa", "--stage", 1, "--compressor", material / "compressor.safetensors",
        "--llm", material / "llm", "--data", material / "data.json",
        "--features", material / "features", "--projector-dim", 16, "--val-fraction", 0.3,
        "--batch-size", 4, "--epochs", 3, "--lr", 0.01, "--device", "cpu", "--out", out, *more,
    ]  # fmt: skip
    return [str(word) for word in given]


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said[-3000:]


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.fixture(scope="module")
def undisturbed(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start(words(material, out, "--micro-batch-size", 2)))
    return out


def test_accumulation_is_one_large_batch(material: Path, undisturbed: Path, tmp_path: Path) -> None:
    assert run(words(material, tmp_path / "run", "--micro-batch-size", 4)) == 0
    assert_close(load_file(tmp_path / "run" / WEIGHTS), load_file(undisturbed / WEIGHTS))


def test_the_slot_cache_changes_nothing(material: Path, undisturbed: Path, tmp_path: Path) -> None:
    assert run(words(material, tmp_path / "run", "--micro-batch-size", 2, "--no-slot-cache")) == 0
    assert_close(load_file(tmp_path / "run" / WEIGHTS), load_file(undisturbed / WEIGHTS))
    assert not (tmp_path / "run" / "slots").exists()


def start_and_kill(arguments: Sequence[str], out: Path) -> None:
    process = start(arguments)
    deadline = time.monotonic() + 120
    while not (out / "progress.safetensors").exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_kill_9_ends_with_the_same_bytes(material: Path, undisturbed: Path, tmp_path: Path) -> None:
    arguments = words(
        material, tmp_path / "run", "--micro-batch-size", 2, "--checkpoint-every-s", 0
    )
    start_and_kill(arguments, tmp_path / "run")
    assert not (tmp_path / "run" / "vqa.json").exists()
    finish(start(arguments))
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (undisturbed / WEIGHTS).read_bytes()
    ends = [
        json.loads((folder / "metrics.json").read_text())["val_loss"]
        for folder in (tmp_path / "run", undisturbed)
    ]
    assert ends[0] == ends[1]


def test_two_processes_give_the_weights_of_one(
    material: Path, undisturbed: Path, tmp_path: Path
) -> None:
    arguments = words(material, tmp_path / "run", "--micro-batch-size", 2)
    finish_all(start_together(["-c", COMMAND, *arguments]))
    assert_close(load_file(tmp_path / "run" / WEIGHTS), load_file(undisturbed / WEIGHTS))


def test_what_one_process_began_two_go_on_with_sharded(
    material: Path, undisturbed: Path, tmp_path: Path
) -> None:
    arguments = words(
        material, tmp_path / "run", "--micro-batch-size", 2, "--checkpoint-every-s", 0
    )
    start_and_kill(arguments, tmp_path / "run")
    arguments[-1] = "0.02"  # about a step: the processes' clocks tell it at different steps
    said = finish_all(start_together(["-c", COMMAND, *arguments, "--shard"]))
    assert "this process holds 50% of the weights" in said
    assert_close(load_file(tmp_path / "run" / WEIGHTS), load_file(undisturbed / WEIGHTS))


def test_processes_at_different_steps_are_refused(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ("--slot-cache", tmp_path / "slots", "--checkpoint-every-s", 0)
    start_and_kill(words(material, tmp_path / "0" / "run", *more), tmp_path / "0" / "run")
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    (tmp_path / "1" / "run" / "progress.safetensors").unlink()
    arguments = ["-c", APART + COMMAND, *words(material, Path("run"), *more)]
    said = [process.communicate(timeout=240)[0] for process in start_together(arguments)]
    assert "the processes found different checkpoints: step" in "".join(said)
