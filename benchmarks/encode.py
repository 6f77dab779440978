"""The archive pipeline beside its two limits, measured in one run.

    python benchmarks/encode.py [--slides 200] [--runtime torch|onnx|onnx-chunked]
        [--device cuda] [--readers 2]

An archive of slides of 5,000 to 20,000 patches (float16, D = 1024, K = 32) is written, and then

- read with as many threads as the pipeline, nothing behind them (the limit of reading),
- computed from features in memory, as they are stored, in chunks and 16 slides at the experts, with
  nothing before it (the limit of computing),
- encoded: read, checked, hashed, computed and written.

Rounds go through all three in turn, and the best round of each counts. The share is the slower
limit over the pipeline's time. Last, one slide of 500,000 patches is encoded on the CPU by a
process of its own, whose peak memory is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the tcssa command does

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import save_compressor
from tcssa.features import open_bag, read_features
from tcssa_exporters import export_compressor
from tcssa_runtimes import EncodeOptions, Runtime, encode, open_runtime
from tcssa_runtimes.archive.launch_scheduler import SLIDES_AT_ONCE

FEATURE_DIM, NUM_SLOTS = 1024, 32
MEMORY_MB, ROWS = 1000, 4096
LARGE = 500_000

PEAK = """
import sys
from pathlib import Path
from tcssa_runtimes import EncodeOptions, encode, open_runtime
runtime = open_runtime(sys.argv[1], device="cpu")
options = EncodeOptions(memory_mb=256)
report = encode([Path(sys.argv[2])], Path(sys.argv[3]), runtime, options=options)
assert report.num_encoded == 1, report.failed
# not getrusage: its peak is inherited from the process that started this one
(peak,) = [x for x in open("/proc/self/status") if x.startswith("VmHWM")]
print(int(peak.split()[1]) * 1024)
"""


def write_archive(folder: Path, sizes: Sequence[int]) -> list[Path]:
    """Feature files as `tcssa extract` writes them: float16, in blocks of 1024 rows."""
    noise = np.random.default_rng(0).standard_normal((40_000, FEATURE_DIM), np.float32)
    block = noise.astype(np.float16)
    paths = []
    for number, size in enumerate(sizes):
        path = folder / f"s{number:04d}.h5"
        with h5py.File(path, "w") as file:
            features = file.create_dataset(
                "features", (size, FEATURE_DIM), np.float16, chunks=(1024, FEATURE_DIM)
            )
            for begin in range(0, size, len(block)):
                shift = (17 * number + begin) % 1000
                rows = np.roll(block, shift, axis=0) if size > len(block) else block[shift:]
                features[begin : begin + len(block)] = rows[: size - begin]
            coords = np.stack(np.divmod(np.arange(size), 100), axis=1) * 224
            file.create_dataset("coords", data=coords).attrs["patch_size_level0"] = 224
        paths.append(path)
    return paths


def make_model(folder: Path, kind: str) -> Path:
    """A checkpoint, or an artefact of it."""
    torch.manual_seed(0)
    model = SlotCompressor(CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS)).eval()
    if kind == "torch":
        save_compressor(model, folder / "model.safetensors")
        return folder / "model.safetensors"
    graph = "chunked" if kind == "onnx-chunked" else "full"
    export_compressor(model, folder / kind, checkpoint_sha256="x", graph=graph)
    return folder / kind


def read_all(paths: Sequence[Path], readers: int) -> None:
    """Read all features as they are stored, and throw them away."""

    def read(path: Path) -> None:
        with open_bag(path) as bag:
            for begin in range(0, bag.num_patches, ROWS):
                bag.read(begin, begin + ROWS)

    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(read, paths))


def compute_all(bags: Sequence[NDArray[Any]], num_patches: int, runtime: Runtime) -> None:
    """Compute as many patches as the archive has, from bags in memory, over and over."""
    done = 0
    while done < num_patches:
        slides = []
        for bag in bags:
            if runtime.facts.chunk_patches is None:
                runtime.encode(bag)
            else:
                sums = runtime.no_sums(has_coords=False)
                size = runtime.facts.chunk_patches
                chunks = [
                    runtime.check_chunk(bag[begin : begin + size], begin)
                    for begin in range(0, len(bag), size)
                ]
                for first in range(0, len(chunks), runtime.chunks_at_once):
                    launch = chunks[first : first + runtime.chunks_at_once]
                    for part in runtime.launch(launch).result():
                        sums.add(part)
                slides.append(sums)
            done += len(bag)
            if done >= num_patches:
                break
        if slides:
            runtime.finish(slides)


def seconds(work: Callable[[], object]) -> float:
    """Measure how long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(
    paths: list[Path],
    sizes: Sequence[int],
    runtime: Runtime,
    folder: Path,
    *,
    rounds: int,
    readers: int,
) -> Table:
    """The pipeline beside its limits."""
    times: dict[str, list[float]] = {"read": [], "compute": [], "encode": []}
    shares: dict[str, float] = {}
    bags = [read_features(path) for path in paths[:SLIDES_AT_ONCE]]
    memory_mb = MEMORY_MB * runtime.launches_at_once * (2 if runtime.chunks_at_once > 1 else 1)
    read_all(paths, readers)  # now all files are in the page cache
    for _ in range(rounds):
        times["read"].append(seconds(lambda: read_all(paths, readers)))
        with runtime:
            times["compute"].append(seconds(lambda: compute_all(bags, sum(sizes), runtime)))
        out = folder / "out"
        options = EncodeOptions(memory_mb=memory_mb, readers=readers)
        report = encode(paths, out, runtime, options=options)
        assert report.num_encoded == len(paths), report.failed
        times["encode"].append(report.encode_s)
        if report.encode_s == min(times["encode"]):
            shares = report.shares()
        shutil.rmtree(out)
    best = {name: min(values) for name, values in times.items()}
    limit = max(best["read"], best["compute"])
    table = Table(title=f"{len(paths)} slides, {sum(sizes):,} patches, {runtime.name}")
    for title in ("", "s", "patches/s", "of the slower limit"):
        table.add_column(title, justify="right")
    for name, label in (("read", "read only"), ("compute", "compute only"), ("encode", "encode")):
        share = f"{limit / best[name]:.0%}" if name == "encode" else ""
        table.add_row(label, f"{best[name]:.2f}", f"{sum(sizes) / best[name]:,.0f}", share)
    table.caption = "busy while encoding: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items())
    return table


def main() -> None:
    """Print the table and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--runtime", choices=["torch", "onnx", "onnx-chunked"], default="onnx-chunked"
    )
    parser.add_argument("--readers", type=int, default=2, help="threads that read")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--folder", type=Path, default=None, help="where the archive is written")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    sizes = [int(size) for size in rng.integers(5_000, 20_001, arguments.slides)]
    console = Console(width=100)
    with TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        model = make_model(folder, arguments.runtime)
        (folder / "bags").mkdir()
        paths = write_archive(folder / "bags", sizes)
        os.sync()  # else what is timed waits for the disk to take the archive
        runtime = open_runtime(model, device=arguments.device)
        console.print(
            compare(
                paths, sizes, runtime, folder, rounds=arguments.rounds, readers=arguments.readers
            )
        )
        shutil.rmtree(folder / "bags")
        (large,) = write_archive(folder, [LARGE])
        command = [sys.executable, "-c", PEAK, str(model), str(large), str(folder / "large")]
        peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        console.print(f"a slide of {LARGE:,} patches: {peak / 1e6:,.0f} MB at most, all included")


if __name__ == "__main__":
    main()
