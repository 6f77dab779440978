"""Fits of one fold, alone or as one of several processes; run as a script it is one of them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import tcssa.compute.processes
from tcssa.compute.processes import Processes, joined
from tcssa.errors import ProcessesError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.cohort.splits import Fold
from tcssa.mil.methods import OneByOne
from tcssa.mil.methods.transmil import TransMIL
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings
from tcssa.mil.training.fit import FoldFit
from tcssa.reporter import Silent


class Uneven(OneByOne):
    """Bags of an odd and of an even number of patches have a layer each; one layer has none."""

    def __init__(self, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(feature_dim, num_classes) for _ in range(2))
        self.unused = nn.Linear(feature_dim, num_classes)
        self.register_buffer("num_seen", torch.zeros(()))

    def classify(self, bag: Tensor) -> Tensor:
        if self.training:
            self.num_seen += 1
        logits: Tensor = self.layers[len(bag) % 2](bag.mean(dim=0))
        return logits


def small_transmil(feature_dim: int, num_classes: int) -> TransMIL:
    """TransMIL as published takes ten seconds for what this does in one."""
    return TransMIL(feature_dim, num_classes, dim=32)


def fit_fold(
    cohort: CohortSettings,
    method: str,
    folder: Path,
    *,
    num_parts: int = 1,
    draws: bool = True,
    processes: Processes | None = None,
    index: int = 0,
) -> FoldFit:
    """Train two epochs on all slides but three, which validate; without ``draws`` no dropout."""
    slides = read_cohort(cohort)
    model = ModelSettings(name=method, num_slots=4, hidden_dim=8, head_dim=8)
    if not draws:
        model = model.model_copy(update={"noise_std": 0.0, "dropout": 0.0, "head_dropout": 0.0})
    train = TrainSettings(epochs=2, batch_size=4, device="cpu", num_parts=num_parts)
    settings = MilSettings(cohort=cohort, model=model, train=train)
    folder.mkdir(parents=True, exist_ok=True)
    fold = Fold(train=slides.slides[:-3], val=slides.slides[-3:], test=[])
    fit = FoldFit(slides, fold, index, settings, folder, BagStore(10**9), processes)
    if not draws:
        for module in fit.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    with Silent().task("", None, "") as task:
        fit.run(task)
    return fit


def start_together(arguments: Sequence[str], count: int = 2) -> list[subprocess.Popen[str]]:
    """Start Python processes that find each other, as a launcher does it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start_python(arguments, {**shared, "RANK": str(rank)}) for rank in range(count)]


def start_python(
    arguments: Sequence[str], variables: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a Python process that finds what the tests find; stderr goes to stdout."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes: Sequence[subprocess.Popen[str]]) -> str:
    """Wait for them; one that failed says why. What the first of them printed."""
    said = [process.communicate(timeout=240)[0] for process in processes]
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text[-3000:]
    return said[0]


def differ(cohort: CohortSettings, folder: Path) -> None:
    """Disagree twice: the second time shows that an error does not keep them from joining again."""
    said = []
    for other_folds in (False, True):
        try:
            with joined("cpu") as processes:
                if other_folds:
                    fit_fold(cohort, "mean", folder, processes=processes, index=processes.index)
                processes.require_same("numbers", processes.index, "count again")
        except ProcessesError as error:
            said.append(f"{error} ({error.hint})")
    (folder / f"differs-{processes.index}.txt").write_text("\n".join(said))


def take_turns(folder: Path) -> None:
    """The first process works for longer than a process waits for another at other times."""
    patience, tcssa.compute.processes._PATIENCE = (
        tcssa.compute.processes._PATIENCE,
        timedelta(seconds=2),
    )

    def work() -> int:
        if processes.is_main:
            time.sleep(3)
            (folder / "turns.txt").write_text("0")
        else:
            with (folder / "turns.txt").open("a") as turns:  # made by the first
                turns.write(str(processes.index))
        return processes.index

    with joined("cpu") as processes:
        assert processes.main_first(work) == processes.index
        assert (folder / "turns.txt").read_text() == "01"
    tcssa.compute.processes._PATIENCE = patience


def main(folder: Path, methods: Sequence[str]) -> None:
    """Fit each method as one of several processes, which saves what it ends with."""
    cohort = CohortSettings(labels=folder / "labels.csv", features=folder / "features")
    differ(cohort, folder)
    take_turns(folder)
    for method in methods:
        for draws in (True, False):
            out = folder / f"{method}-{draws}"
            tcssa.compute.processes._LARGE = (
                2**18 if draws else 64
            )  # gradients together, and one by one
            with joined("cpu") as processes:
                fit = fit_fold(cohort, method, out, num_parts=2, draws=draws, processes=processes)
                save_file(fit.model.state_dict(), out / f"{processes.index}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
