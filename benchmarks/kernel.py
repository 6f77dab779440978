"""The fused kernel beside the plain formulation and the floor, on a CUDA GPU.

    python benchmarks/kernel.py [--patches 100000]

The floor is reading x once at the bandwidth that this GPU copies with, measured in the same run.
Rounds time the kernel, plain torch (logits, softmax, top-2, dense weights, a product) and the copy
in turn; the median of each counts. A call of ours also looks for non-finite features and waits for
the answer; the kernels' own time is read off the device by torch's profiler, beside it. Features in
float32 are here to show why `SlotCompressor` leaves them to plain torch.
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
    """Weighted sums [K, D] and the slots [N, T] of every patch, as one writes them first."""
    probs = (features.float() @ weight.T + bias).softmax(dim=1)
    values, indices = probs.topk(TOP_K, dim=1)
    dense = torch.zeros_like(probs).scatter(1, indices, values)
    return dense.T @ features.float(), indices


def check(features: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Make sure that both choose the same slots, near-ties aside, and then have the same sums.

    float32 leaves the order of two logits open that differ by less than its own rounding.
    """
    found = fused.fused_sums([features], weight, bias, TOP_K)
    _, indices = plain_sums(features, weight, bias)
    (differ,) = (found.indices != indices).any(dim=1).nonzero(as_tuple=True)
    exact = features[differ].double() @ weight.double().T + bias.double()
    ranked = exact.sort(dim=1, descending=True).values[:, : TOP_K + 1]
    gaps = (ranked[:, :-1] - ranked[:, 1:]).min(dim=1).values
    assert not len(differ) or gaps.max() < 1e-5, f"other slots, by {float(gaps.max())}"
    dense = torch.zeros(len(features), len(weight), device=features.device)
    dense.scatter_(1, found.indices, found.weights)
    expected = dense.T.double() @ features.double()
    deviation = float((found.weighted_sum[0] - expected).abs().max() / expected.abs().max())
    assert deviation < 1e-5, f"the two do not compute the same: {deviation}"


def on_device_ms(work: Callable[[], object]) -> float:
    """Measure how long the kernels of Triton in a call run, by the device's own clock."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(ROUNDS):
            work()
        torch.cuda.synchronize()
    ours = [row for row in profile.key_averages() if row.key.startswith(("sum_", "add_"))]
    assert ours, "the profiler saw no kernel of ours"
    return sum(row.self_device_time_total for row in ours) / ROUNDS / 1e3


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
    check(features, gate.weight, gate.bias)
    took = milliseconds(
        {
            "fused": lambda: fused.fused_sums([features], gate.weight, gate.bias, TOP_K),
            "plain": lambda: plain_sums(features, gate.weight, gate.bias),
            "copy": lambda: target.copy_(features),
        }
    )
    kernels = on_device_ms(lambda: fused.fused_sums([features], gate.weight, gate.bias, TOP_K))
    num_bytes = features.numel() * features.element_size()
    bandwidth = 2 * num_bytes / took["copy"]  # a copy reads and writes
    floor = num_bytes / bandwidth
    return [
        str(dtype).removeprefix("torch."),
        f"{kernels:.3f}",
        f"{took['fused']:.3f}",
        f"{took['plain']:.3f}",
        f"{took['plain'] / took['fused']:.2f}x",
        f"{bandwidth / 1e6:,.0f}",
        f"{floor:.3f}",
        f"{floor / kernels:.0%}",
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
    for title in (
        "features",
        "kernels ms",
        "call ms",
        "plain ms",
        "faster",
        "copy GB/s",
        "floor ms",
        "of the floor",
    ):
        table.add_column(title, justify="right")
    with torch.inference_mode():
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            table.add_row(*row(num_patches, dtype, ours))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
