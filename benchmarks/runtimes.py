"""Runtimes and precisions over N beside the plain dense formulation, in one run.

    python benchmarks/runtimes.py [--out FOLDER] [--sizes 1000,100000] [--device cpu|cuda]
        [--features float32|float16]

One slide of N patches (D = 1024, K = 32) goes from features in memory to slots. All runtimes hold
the same weights, and what they return is compared with the plain formulation's. A round times each
of them once, so that all meet the same machine; the best round counts, since what disturbs a
measurement only ever adds to it. The limit is reading the features and the experts' weights once at
the machine's bandwidth; on CUDA, copying the features to the device once, out of pinned memory.
Memory is how far the resident memory of the host rises above where it stood, features not counted.

Writes a table, ``runtimes.json`` and ``runtimes.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the tcssa command does

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from compressor import FEATURE_DIM, NUM_SLOTS, PlainCompressor, peak_extra_bytes, read_bandwidth
from rich.console import Console
from rich.table import Table

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import save_compressor
from tcssa_exporters import export_compressor
from tcssa_runtimes import open_runtime

SIZES = "1000,4000,10000,50000,100000,200000"
PLAIN, LIMIT = "plain torch", "limit"
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2}
"""Of the largest slot; most slots must be as near."""
FLIPPED = 1e-2
"""And all of them: one of 200,000 patches on a near tie may take another slot and move two of them
by up to 1e-3 (seen on an H200, where either formulation parts from float64 by as much)."""
Encode = Callable[[np.ndarray], np.ndarray]


def plain_encode(plain: PlainCompressor, device: str) -> Encode:
    """Features [N, D] to slots [K, D], as one writes it first."""

    def encode(features: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            slots, _ = plain(torch.from_numpy(features)[None].to(device).float())
        return slots[0].cpu().numpy()

    return encode


def open_all(
    ours: SlotCompressor, folder: Path, device: str, stack: ExitStack
) -> dict[str, Encode]:
    """Every runtime and precision that runs on the device, by name."""
    save_compressor(ours, folder / "model.safetensors")
    models = {"torch": folder / "model.safetensors"}
    for graph in ("full", "chunked"):
        for precision in ("fp32", "fp16"):
            path = folder / f"{graph}-{precision}"
            export_compressor(ours, path, checkpoint_sha256="x", graph=graph, precision=precision)
            models[f"onnx {graph} {precision}"] = path
    encoders: dict[str, Encode] = {}
    for name, path in models.items():
        runtime = stack.enter_context(open_runtime(path, device=device))
        encoders[name] = lambda features, runtime=runtime: runtime.encode(features).slots
    return encoders


def upload_bandwidth() -> float:
    """Bytes a second that are copied to the GPU from pinned memory."""
    block = torch.zeros(64 * 2**20).pin_memory()
    target = torch.empty_like(block, device="cuda")
    target.copy_(block)
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(5):
        target.copy_(block, non_blocking=True)
    torch.cuda.synchronize()
    return 5 * 4 * block.numel() / (time.perf_counter() - begin)


def measure(
    encoders: dict[str, Encode], sizes: list[int], dtype: str, bandwidth: float, weights: int
) -> list[dict[str, Any]]:
    """Seconds and bytes of every encoder at every size."""
    rows = []
    for num_patches in sizes:
        rng = np.random.default_rng(num_patches)
        features = rng.standard_normal((num_patches, FEATURE_DIM), np.float32)
        features = features.astype(np.float16).astype(dtype)  # the same for all precisions
        expected = encoders[PLAIN](features)
        seconds: dict[str, list[float]] = {name: [] for name in encoders}
        for name, encode in encoders.items():
            deviations = np.abs(encode(features) - expected).max(axis=1) / np.abs(expected).max()
            allowed = TOLERANCE["fp16" if name.endswith("fp16") else "fp32"]
            is_same = np.median(deviations) < allowed and deviations.max() < FLIPPED
            assert is_same, f"{name} computes something else: {deviations}"
        for _ in range(max(3, min(15, 200_000 // num_patches))):
            for name, encode in encoders.items():
                begin = time.perf_counter()
                encode(features)
                seconds[name].append(time.perf_counter() - begin)
        limit = (features.nbytes + 4 * weights) / bandwidth
        for name, encode in encoders.items():
            rows.append(
                {
                    "runtime": name,
                    "num_patches": num_patches,
                    "seconds": min(seconds[name]),
                    "of_plain": min(seconds[PLAIN]) / min(seconds[name]),
                    "of_limit": limit / min(seconds[name]),
                    "extra_bytes": peak_extra_bytes(lambda e=encode, f=features: e(f)),
                }
            )
    return rows


def table_of(rows: list[dict[str, Any]], title: str) -> Table:
    """A row a runtime and size."""
    table = Table(title=title)
    for header in ("N", "runtime", "ms", "times plain", "of the limit", "extra MB"):
        table.add_column(header, justify="left" if header == "runtime" else "right")
    for row in rows:
        table.add_row(
            f"{row['num_patches']:,}",
            row["runtime"],
            f"{row['seconds'] * 1e3:.1f}",
            f"{row['of_plain']:.2f}x",
            f"{row['of_limit']:.0%}",
            f"{row['extra_bytes'] / 1e6:.0f}",
            end_section=row is not rows[-1] and rows[rows.index(row) + 1]["runtime"] == PLAIN,
        )
    return table


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time and memory against N, both linear."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name in dict.fromkeys(row["runtime"] for row in rows):
        mine = [row for row in rows if row["runtime"] == name]
        style = {"color": "black", "linestyle": "--"} if name == PLAIN else {"linestyle": "-"}
        style["marker"] = "."
        numbers = [row["num_patches"] / 1e3 for row in mine]
        axes[0].plot(numbers, [row["seconds"] * 1e3 for row in mine], label=name, **style)
        axes[1].plot(numbers, [row["extra_bytes"] / 1e6 for row in mine], label=name, **style)
    for axis, label in zip(axes, ("ms a slide", "extra memory, MB"), strict=True):
        axis.set_xlabel("thousand patches of the slide")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmark-runtimes"))
    parser.add_argument("--sizes", default=SIZES, help="numbers of patches")
    parser.add_argument("--features", choices=["float32", "float16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    config = CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS)
    ours = SlotCompressor(config).eval()
    plain = PlainCompressor(ours).eval().to(arguments.device)
    weights = ours.experts.w_in.numel() + ours.experts.w_out.numel()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        encoders = {PLAIN: plain_encode(plain, arguments.device)}
        encoders |= open_all(ours, Path(folder), arguments.device, stack)
        sizes = [int(size) for size in arguments.sizes.split(",")]
        on_gpu = arguments.device == "cuda"
        bandwidth = upload_bandwidth() if on_gpu else read_bandwidth()
        weights = 0 if on_gpu else weights
        rows = measure(encoders, sizes, arguments.features, bandwidth, weights)
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    title = f"One slide, D = {FEATURE_DIM}, K = {NUM_SLOTS}, {arguments.features}, {where}"
    Console(width=100).print(table_of(rows, title))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "runtimes.json").write_text(json.dumps(rows, indent=1) + "\n")
    plot(rows, arguments.out / "runtimes.png")


if __name__ == "__main__":
    main()
