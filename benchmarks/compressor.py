"""The compressor beside the plain dense formulation, as ratios measured in one run.

    python benchmarks/compressor.py [--quick]

Plain means what one writes first: dense routing weights [N, K], one product, a loop over K
expert modules, AdamW with its default step. Ours and plain hold the same weights and give the
same slots (checked). Each pair is timed in turn, so that both meet the same machine; figures are
the best of several rounds, since what disturbs a measurement only ever adds to it. The limit is
reading x and the experts' weights once at the machine's bandwidth. Both run with huge pages for
large blocks, as the tcssa command does.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it when it is imported

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from tcssa import CompressorConfig, SlotCompressor

FEATURE_DIM, NUM_SLOTS, HIDDEN = 1024, 32, 512


class PlainCompressor(nn.Module):
    """TC-SSA as one writes it first: everything dense, a loop over experts."""

    def __init__(self, ours: SlotCompressor) -> None:
        super().__init__()
        self.gate = nn.Linear(FEATURE_DIM, NUM_SLOTS)
        self.gate.load_state_dict(ours.router.gate.state_dict())
        self.experts = nn.ModuleList(_expert(ours, k) for k in range(NUM_SLOTS))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Slots [B, K, D] and the balance loss of features [B, N, D]."""
        logits = self.gate(features)
        if self.training:
            logits = logits + 0.1 * torch.randn_like(logits)
        probs = logits.softmax(-1)
        second = probs.topk(2, dim=-1).values[..., 1:]
        chosen = (probs >= second).float()
        weights = probs * chosen
        centers = weights.transpose(1, 2) @ features
        centers = centers / (weights.sum(dim=1).unsqueeze(-1) + 1e-9)
        slots = [c + expert(c) for c, expert in zip(centers.unbind(1), self.experts, strict=True)]
        mean = probs.mean(dim=(0, 1))
        entropy = -(mean * torch.log(mean + 1e-8)).sum() / torch.tensor(NUM_SLOTS).log()
        aux = NUM_SLOTS * (mean * chosen.mean(dim=(0, 1))).sum() + 0.5 * (1 - entropy)
        return torch.stack(slots, dim=1), aux + 1e-4 * logits.logsumexp(-1).mean() ** 2


def _expert(ours: SlotCompressor, k: int) -> nn.Sequential:
    linear_in, linear_out = nn.Linear(FEATURE_DIM, HIDDEN), nn.Linear(HIDDEN, FEATURE_DIM)
    norm = nn.LayerNorm(FEATURE_DIM)
    with torch.no_grad():
        linear_in.weight.copy_(ours.experts.w_in[k].T)
        linear_in.bias.copy_(ours.experts.b_in[k, 0])
        linear_out.weight.copy_(ours.experts.w_out[k].T)
        linear_out.bias.copy_(ours.experts.b_out[k, 0])
    return nn.Sequential(linear_in, nn.GELU(), nn.Dropout(0.25), linear_out, norm)


@dataclass
class Timing:
    """The best of one pair, in seconds."""

    ours: float
    plain: float

    @property
    def ratio(self) -> float:
        """Compute how many times faster ours is."""
        return self.plain / self.ours


def time_pair(ours: Callable[[], object], plain: Callable[[], object], repeats: int) -> Timing:
    """Time both in turn; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(repeats + 1):
        for name, work in (("ours", ours), ("plain", plain)):
            begin = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begin)
    return Timing(*(min(seconds[name][1:]) for name in ("ours", "plain")))


def peak_extra_bytes(work: Callable[[], object]) -> int:
    """Measure how far the resident memory of this process rises above where it stood."""
    work()  # libraries allocate their workspaces once
    stop, peak = threading.Event(), [0]
    base = _resident_bytes()

    def watch() -> None:
        while not stop.is_set():
            peak[0] = max(peak[0], _resident_bytes() - base)
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(3):
        work()
    stop.set()
    watcher.join()
    return peak[0]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def forward_row(ours: SlotCompressor, plain: PlainCompressor, num_patches: int) -> list[str]:
    """Time and memory of one forward pass, without gradients."""
    features = torch.randn(1, num_patches, FEATURE_DIM)
    with torch.inference_mode():
        slots, reference = ours(features).slots, plain(features)[0]
        deviation = float((slots - reference).abs().max() / reference.abs().max())
        assert deviation < 1e-4, f"the two do not compute the same: {deviation}"
        timing = time_pair(
            lambda: ours(features), lambda: plain(features), max(5, 60_000 // num_patches)
        )
        memory_ours = peak_extra_bytes(lambda: ours(features))
        memory_plain = peak_extra_bytes(lambda: plain(features))
    weights = ours.experts.w_in.numel() + ours.experts.w_out.numel()
    limit = 4 * (features.numel() + weights) / read_bandwidth()
    return [
        f"{num_patches:,}",
        f"{timing.ours * 1e3:.1f}",
        f"{timing.plain * 1e3:.1f}",
        f"{timing.ratio:.2f}x",
        f"{limit / timing.ours:.0%}",
        f"{memory_ours / 1e6:.1f}",
        f"{memory_plain / 1e6:.1f}",
        f"{memory_ours / memory_plain:.3f}" if memory_plain > 1e6 else "–",
    ]


_BANDWIDTH: list[float] = []


def read_bandwidth() -> float:
    """Bytes a second that a sum over 256 MB reads; measured once."""
    if not _BANDWIDTH:
        block = torch.randn(64 * 2**20)
        block.sum()
        begin = time.perf_counter()
        for _ in range(5):
            block.sum()
        _BANDWIDTH.append(5 * 4 * block.numel() / (time.perf_counter() - begin))
    return _BANDWIDTH[0]


def training_row(
    ours: SlotCompressor, plain: PlainCompressor, num_patches: int, num_bags: int
) -> list[str]:
    """Time of one optimiser step on a batch of slides: forward, backward, AdamW.

    Slides differ in size, so plain code takes them one by one and accumulates gradients; ours
    takes them together.
    """
    sizes = [num_patches + 37 * i for i in range(num_bags)]
    bags = [torch.randn(1, size, FEATURE_DIM) for size in sizes]
    ours_step = torch.optim.AdamW(ours.parameters(), lr=1e-4, fused=True)
    plain_step = torch.optim.AdamW(plain.parameters(), lr=1e-4)

    def step_ours() -> None:
        ours_step.zero_grad()
        output = ours.compress([bag[0] for bag in bags])
        (output.slots.square().mean() + 0.1 * output.aux_loss).backward()
        ours_step.step()

    def step_plain() -> None:
        plain_step.zero_grad()
        for bag in bags:
            slots, aux = plain(bag)
            ((slots.square().mean() + 0.1 * aux) / num_bags).backward()
        plain_step.step()

    timing = time_pair(step_ours, step_plain, 5)
    return [
        f"{num_patches:,}",
        f"{num_bags}",
        f"{timing.ours * 1e3:.0f}",
        f"{timing.plain * 1e3:.0f}",
        f"{timing.ratio:.2f}x",
    ]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out N = 100,000")
    sizes = [1_000, 4_000, 10_000] + ([] if parser.parse_args().quick else [100_000])
    torch.manual_seed(0)
    config = CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS, hidden_dim=HIDDEN)
    ours = SlotCompressor(config)
    plain = PlainCompressor(ours)
    console = Console(width=110)

    threads = torch.get_num_threads()
    forward = Table(title=f"Forward, D = {FEATURE_DIM}, K = {NUM_SLOTS}, fp32, {threads} threads")
    for title in (
        "N",
        "ours ms",
        "plain ms",
        "faster",
        "of the limit",
        "ours MB",
        "plain MB",
        "memory ratio",
    ):
        forward.add_column(title, justify="right")
    ours.eval(), plain.eval()
    for num_patches in sizes:
        forward.add_row(*forward_row(ours, plain, num_patches))
    console.print(forward)

    training = Table(title="Training step: forward, backward, AdamW")
    for title in ("N", "slides", "ours ms", "plain ms", "faster"):
        training.add_column(title, justify="right")
    ours.train(), plain.train()
    for num_patches in sizes[:3]:
        for num_bags in (1, 8):
            training.add_row(*training_row(ours, plain, num_patches, num_bags))
    console.print(training)


if __name__ == "__main__":
    main()
