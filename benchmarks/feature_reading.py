"""Reading the features of slides: what a layout costs, and what a pack of the cohort saves.

    python benchmarks/feature_reading.py [--folder DIR] [--model NAME]

Slides of 4,000 patches, D = 1024, float16 numbers. The first table reads one slide after another,
through the same code as training does, each layout on files of its own: cold (the system was told
to drop the files from its memory) and warm, with one reader and two. The second is an epoch of
``tcssa train-mil``, validation included. Figures are the best of several rounds, but for cold ones.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it when it is imported

import h5py
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.bags.feature_pack import FeaturePack
from tcssa.mil.bags.feature_pack_writer import open_pack
from tcssa.mil.cohort.cohort import Cohort, read_cohort
from tcssa.mil.cohort.splits import Fold
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings
from tcssa.mil.training.fit import FoldFit
from tcssa.reporter import Silent

NUM_PATCHES, FEATURE_DIM = 4000, 1024
NUM_SLIDES = 16
LAYOUTS: dict[str, dict[str, object]] = {
    "HDF5, contiguous": {},
    "HDF5, a chunk a row": {"chunks": (1, FEATURE_DIM)},
    "HDF5, gzip": {"chunks": (256, FEATURE_DIM), "compression": "gzip"},
}


def write_layout(folder: Path, how: dict[str, object]) -> Cohort:
    """The cohort in one layout; all layouts hold the same numbers."""
    rows = ["case_id,slide_id,label"]
    (folder / "features").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(NUM_SLIDES):
        features = rng.standard_normal((NUM_PATCHES, FEATURE_DIM), np.float32).astype(np.float16)
        with h5py.File(folder / "features" / f"s{i:02d}.h5", "w") as file:
            file.create_dataset("features", data=features, **how)
        rows.append(f"p{i:02d},s{i:02d},{'ab'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return read_cohort(CohortSettings(labels=folder / "labels.csv", features=folder / "features"))


def drop_from_memory(folder: Path) -> None:
    """Have the system forget the content of all files, as if the machine had just started."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def ms_a_slide(store: BagStore, cohort: Cohort) -> float:
    """Reading all slides in batches of 8, as an epoch does, with nothing to wait for."""
    batches = [cohort.slides[i : i + 8] for i in range(0, NUM_SLIDES, 8)]
    begin = time.perf_counter()
    for _ in store.batches(batches):
        pass
    return (time.perf_counter() - begin) * 1e3 / NUM_SLIDES


def reading_row(folder: Path, cohort: Cohort, make: Callable[[int], BagStore]) -> list[str]:
    """Milliseconds a slide: cold, warm, warm with two readers."""
    drop_from_memory(folder)
    cold = ms_a_slide(make(1), cohort)
    warm, two = (min(ms_a_slide(make(n), cohort) for _ in range(3)) for n in (1, 2))
    return [f"{cold:.1f}", f"{warm:.1f}", f"{two:.1f}"]


def kept_row(cohort: Cohort, store: BagStore) -> list[str]:
    """Milliseconds a slide that an earlier epoch left in memory."""
    ms_a_slide(store, cohort)
    return ["", f"{min(ms_a_slide(store, cohort) for _ in range(5)):.2f}", ""]


def epoch_s(folder: Path, cohort: Cohort, store: BagStore, model: str) -> float:
    """Seconds of the better of two epochs after a first: 8 slides train, 8 validate."""
    settings = MilSettings(
        model=ModelSettings(name=model, hidden_dim=512, embed_dim=0),
        train=TrainSettings(device="cpu"),
    )
    fold = Fold(train=cohort.slides[:8], val=cohort.slides[8:], test=[])
    fit = FoldFit(cohort, fold, 0, settings, folder, store)
    seconds = []
    for number in range(3):
        begin = time.perf_counter()
        fit._train_epoch(number)
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


def reading_table(root: Path, cohorts: dict[str, Cohort], pack: FeaturePack) -> Table:
    """Every layout, and the pack."""
    table = Table(title=f"ms to read a slide [{NUM_PATCHES}, {FEATURE_DIM}]")
    for title in ("", "cold", "warm", "warm, two readers"):
        table.add_column(title, justify="right" if title else "left")
    for name, cohort in cohorts.items():
        row = reading_row(_folder(root, name), cohort, lambda n: BagStore(0, readers=n))
        table.add_row(name, *row)
    cohort = next(iter(cohorts.values()))
    row = reading_row(pack.folder, cohort, lambda n: BagStore(0, pack=pack, readers=n))
    table.add_row("pack", *row)
    table.add_row("kept in memory", *kept_row(cohort, BagStore(10**10)))
    return table


def epoch_table(root: Path, cohorts: dict[str, Cohort], pack: FeaturePack, model: str) -> Table:
    """An epoch where nothing is kept, and where all is."""
    table = Table(title=f"s an epoch of {NUM_SLIDES} slides, --model {model}")
    for title in ("", "nothing fits in memory", "all fits"):
        table.add_column(title, justify="right" if title else "left")
    rows = [(name, cohort, None) for name, cohort in cohorts.items()]
    rows.append(("pack", next(iter(cohorts.values())), pack))
    for name, cohort, each in rows:
        seconds = [
            epoch_s(root, cohort, BagStore(budget, pack=each, readers=2), model)
            for budget in (0, 10**10)
        ]
        table.add_row(name, *(f"{value:.2f}" for value in seconds))
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="On the disk to measure; takes 1 GB of it.")
    console = Console(width=100)
    parser.add_argument("--model", default="tcssa", help="Whose epoch is timed.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        root = Path(temporary)
        cohorts = {name: write_layout(_folder(root, name), how) for name, how in LAYOUTS.items()}
        begin = time.perf_counter()
        pack = open_pack(root / "packs", next(iter(cohorts.values())), Silent())
        packing_ms = (time.perf_counter() - begin) * 1e3 / NUM_SLIDES
        console.print(
            f"packing: {packing_ms:.0f} ms a slide, once; {torch.get_num_threads()} threads"
        )
        console.print(reading_table(root, cohorts, pack))
        console.print(epoch_table(root, cohorts, pack, given.model))


def _folder(root: Path, name: str) -> Path:
    return root / name.replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    main()
