"""Slides that are done twice where processes share a job: none may be.

    python benchmarks/claims.py [--runs 10] [--processes 4] [--slides 24]

In each run so many processes begin at once on one job, as if each had been started by hand on a
machine of its own: ``extract`` of drawn slides, ``encode`` of feature files to HDF5 files and to
Parquet. Counted are the slides that were done twice, those that were not done at all, and what the
last index lacks.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from slide_files import draw_slides

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import save_compressor
from tcssa.jobs.watch import Watch
from tcssa.slides import ExtractOptions, ExtractSettings, extract
from tcssa_runtimes import EncodeOptions, encode, open_runtime
from tcssa_runtimes.archive.archive_index import read_index

FEATURE_DIM = 64
KINDS = ("extract", "hdf5", "parquet")


def main() -> None:
    """Make the inputs, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--slides", type=int, default=24, help="of encode; extract has a third")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    args = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch", "tcssa_runtimes", "tcssa.slides"])
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = folder / "model.safetensors"
        save_compressor(
            SlotCompressor(CompressorConfig(feature_dim=FEATURE_DIM, num_slots=8)), model
        )
        bags = {f"s{n:03}" for n in range(args.slides)}
        for name in bags:
            write_bag(folder / "bags" / f"{name}.h5")
        slides = {path.stem for path in draw_slides(folder / "slides", max(1, args.slides // 3))}
        for kind in args.kinds:
            names = slides if kind == "extract" else bags
            twice = lacking = unlisted = 0
            by_process: list[int] = []
            began = time.perf_counter()
            for _ in range(args.runs):
                shutil.rmtree(folder / "out", ignore_errors=True)
                barrier = context.Barrier(args.processes)
                processes = [
                    context.Process(target=work, args=(kind, folder, number, barrier))
                    for number in range(args.processes)
                ]
                for process in processes:
                    process.start()
                for process in processes:
                    process.join()
                assert not any(process.exitcode for process in processes), "a process failed"
                logs = [folder / f"log-{number}" for number in range(args.processes)]
                each = [done_in(log) for log in logs]
                done = Counter(name for of_one in each for name in of_one)
                twice += sum(number > 1 for number in done.values())
                lacking += len(names - done.keys())
                unlisted += len(names - listed(kind, folder / "out"))
                by_process += map(len, each)
            print(
                f"{kind:8} {args.runs} runs of {args.processes} processes over {len(names)} "
                f"slides: {twice} done twice, {lacking} not done, {unlisted} not in the index; "
                f"{min(by_process)} to {max(by_process)} slides a process; "
                f"{(time.perf_counter() - began) / args.runs:.1f} s a run",
                flush=True,
            )


def write_bag(path: Path) -> None:
    """Write features of 400 patches."""
    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    with h5py.File(path, "w") as file:
        file["features"] = rng.standard_normal((400, FEATURE_DIM)).astype(np.float16)


def work(kind: str, folder: Path, number: int, barrier: Barrier) -> None:
    """Do the job as one of the processes.

    Args:
        kind: ``extract``, or what encode writes.
        folder: Folder of inputs and output.
        number: Number of the process.
        barrier: Where all begin.
    """
    torch.set_num_threads(1)
    log = folder / f"log-{number}"
    log.unlink(missing_ok=True)
    watch = Watch(log)
    barrier.wait()
    if kind == "extract":
        slides = sorted((folder / "slides").iterdir())
        settings = ExtractSettings(device="cpu", readers=1)
        extract(slides, folder / "out", settings, options=ExtractOptions(watch=watch))
    else:
        runtime = open_runtime(folder / "model.safetensors", device="cpu")
        options = EncodeOptions(to="parquet" if kind == "parquet" else "hdf5", watch=watch)
        encode([folder / "bags"], folder / "out", runtime, options=options)


def done_in(log: Path) -> Iterable[str]:
    """Return the slides that a process has done itself."""
    events = map(json.loads, log.read_text().splitlines())
    return [event["slide_id"] for event in events if event.get("outcome") == "done"]


def listed(kind: str, out: Path) -> set[str]:
    """Return the slides that the job's files name."""
    if kind == "extract":
        return {path.stem for path in out.glob("*/features_*/*.h5")}
    return {row["slide_id"] for row in read_index(out / "index.csv")}


if __name__ == "__main__":
    main()
