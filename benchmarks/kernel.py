"""The fused kernel beside the plain formulation and the floor, on a CUDA GPU.

    python benchmarks/kernel.py [--patches 100000]

The floor is reading x once at the bandwidth that this GPU copies with, measured in the same run.
Rounds time the kernel, plain torch (logits, softmax, top-2, dense weights, a product) and the copy
in turn; the median of each counts. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import fused

FEATURE_DIM, NUM_SLOTS, TOP_K, ROUNDS = 1024, 32, 2, 50


def plain_sums(features: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sums [K, D] and masses [K], as one writes them first."""
    probs = (features.float() @ weight.T + bias).softmax(dim=1)
    values, indices = probs.topk(TOP_K, dim=1)
    dense = torch.zeros_like(probs).scatter(1, indices, values)
    return dense.T @ features.float(), dense.sum(dim=0)


def milliseconds(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median time of each, measured in turn."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS + 5):
        for name, work in works.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            times[name].append(begin.elapsed_time(end))
    return {name: statistics.median(values[5:]) for name, values in times.items()}


def row(num_patches: int, dtype: torch.dtype, ours: SlotCompressor) -> list[str]:
    """One type of features."""
    features = torch.randn(num_patches, FEATURE_DIM, device="cuda").to(dtype)
    target = torch.empty_like(features)
    gate = ours.router.gate
    found = fused.fused_sums([features], gate.weight, gate.bias, TOP_K)
    expected, _ = plain_sums(features, gate.weight, gate.bias)
    deviation = float((found.weighted_sum[0] - expected).abs().max() / expected.abs().max())
    assert deviation < 1e-3, f"the two do not compute the same: {deviation}"
    took = milliseconds(
        {
            "fused": lambda: fused.fused_sums([features], gate.weight, gate.bias, TOP_K),
            "plain": lambda: plain_sums(features, gate.weight, gate.bias),
            "copy": lambda: target.copy_(features),
        }
    )
    num_bytes = features.numel() * features.element_size()
    bandwidth = 2 * num_bytes / took["copy"]  # a copy reads and writes
    floor = num_bytes / bandwidth
    return [
        str(dtype).removeprefix("torch."),
        f"{took['fused']:.3f}",
        f"{took['plain']:.3f}",
        f"{took['plain'] / took['fused']:.2f}x",
        f"{bandwidth / 1e6:,.0f}",
        f"{floor / took['fused']:.0%}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=100_000)
    num_patches = parser.parse_args().patches
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device: the kernel is timed on a GPU only")
    torch.manual_seed(0)
    ours = SlotCompressor(CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS)).cuda()
    table = Table(
        title=f"N = {num_patches:,}, D = {FEATURE_DIM}, K = {NUM_SLOTS}, "
        f"{torch.cuda.get_device_name()}"
    )
    for title in ("features", "fused ms", "plain ms", "faster", "copy GB/s", "of the floor"):
        table.add_column(title, justify="right")
    with torch.inference_mode():
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            table.add_row(*row(num_patches, dtype, ours))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
