"""Training a slide classifier: one process of two threads against two processes of one thread.

    python benchmarks/mil_processes.py [--models tcssa,abmil] [--batch-sizes 8,32] [--patches 4000]

32 random slides of D = 1024 train, 4 validate, features are in memory. Slides a second are those of
the quickest of six epochs, validation included: other work on the machine only slows down.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

NUM_TRAINED, NUM_VALIDATED, FEATURE_DIM, EPOCHS = 32, 4, 1024, 6


def main() -> None:
    """Measure and print a Markdown table; with ``--fit`` be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="tcssa,abmil")
    parser.add_argument("--batch-sizes", default="8,32")
    parser.add_argument("--patches", type=int, default=4000)
    parser.add_argument("--fit", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit:
        folder, model, batch_size, threads = given.fit
        fit(Path(folder), model, int(batch_size), int(threads))
        return
    print("| model, slides a step | one process, two threads | two processes, one thread each |")
    print("| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        write_cohort(Path(folder), given.patches)
        for model in given.models.split(","):
            for size in given.batch_sizes.split(","):
                one, two = (measure([folder, model, size], count, 2 // count) for count in (1, 2))
                print(f"| {model}, {size} | {one} | {two} |", flush=True)


def write_cohort(folder: Path, num_patches: int) -> None:
    """Features without a meaning; two classes."""
    (folder / "features").mkdir()
    rows = ["slide_id,case_id,label"]
    for i in range(NUM_TRAINED + NUM_VALIDATED):
        features = np.random.default_rng(i).standard_normal((num_patches, FEATURE_DIM))
        with h5py.File(folder / "features" / f"s{i}.h5", "w") as file:
            file["features"] = features.astype(np.float32)
            file["coords"] = np.zeros((num_patches, 2), dtype=np.int64)
        rows.append(f"s{i},p{i},{'ab'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def measure(words: list[str], count: int, threads: int) -> str:
    """Slides a second of ``count`` processes; the first of them says it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--fit", *words, str(threads)],
            env={**os.environ, **place, "RANK": str(rank), "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    said = [process.communicate()[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    return said[0].strip()


class EpochTimes:
    """A reporter's task that notes when an epoch ends."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def advance(self, amount: int = 1) -> None:
        """See `tcssa.reporter.Task`; training first says how many epochs it takes up: none."""
        if amount:
            self.ends.append(time.perf_counter())

    def describe(self, text: str) -> None:
        """See `tcssa.reporter.Task`."""


def fit(folder: Path, model: str, batch_size: int, threads: int) -> None:
    """Train as one of the processes; the first prints its slides a second."""
    import torch

    from tcssa.compute.processes import joined
    from tcssa.mil.bags.bag_store import BagStore
    from tcssa.mil.cohort.cohort import read_cohort
    from tcssa.mil.cohort.splits import Fold
    from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings
    from tcssa.mil.training.fit import FoldFit

    torch.set_num_threads(threads)
    where = CohortSettings(labels=folder / "labels.csv", features=folder / "features")
    cohort = read_cohort(where)
    fold = Fold(train=cohort.slides[:NUM_TRAINED], val=cohort.slides[NUM_TRAINED:], test=[])
    with joined("cpu") as processes:
        settings = MilSettings(
            cohort=where,
            model=ModelSettings(name=model, hidden_dim=512),
            train=TrainSettings(
                epochs=EPOCHS, patience=EPOCHS, batch_size=batch_size, num_parts=processes.count
            ),
        )
        out = folder / f"{model}-{batch_size}-{processes.count}"
        out.mkdir(exist_ok=True)
        times = EpochTimes()
        FoldFit(cohort, fold, 0, settings, out, BagStore(10**11), processes).run(times)
        quickest = min(np.diff(times.ends))
        if processes.is_main:
            print(f"{NUM_TRAINED / quickest:.1f}")


if __name__ == "__main__":
    main()
