"""Training of the slide classifier beside the plain formulation, as ratios measured in one run.

    python benchmarks/mil_training.py [--device cuda]

Plain means what one writes first: a loop over K expert modules, one slide at a time, gradients
accumulated over 8 slides, AdamW with its default step. Ours and plain hold the same weights; that
their gradients agree is checked before anything is timed. Each is timed in turn, so that all meet
the same machine; figures are the best of several rounds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it when it is imported

import torch
from compressor import PlainCompressor
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from tcssa import CompressorConfig, SlotCompressor
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier

FEATURE_DIM, NUM_SLOTS, HIDDEN = 1024, 32, 512
NUM_PATCHES, BATCH = 4000, 8
AUX_WEIGHT = 0.1
ROUNDS = 8


class PlainClassifier(nn.Module):
    """The plain compressor, the mean of its slots and the same head."""

    def __init__(self, ours: SlideClassifier) -> None:
        super().__init__()
        self.compressor = PlainCompressor(ours.compressor)
        self.head = nn.Sequential(
            nn.LayerNorm(FEATURE_DIM), nn.Linear(FEATURE_DIM, 512), nn.GELU(), nn.Dropout(0.3),
            nn.Linear(512, 2),
        )  # fmt: skip
        for mine, theirs in ((0, ours.head.norm), (1, ours.head.hidden), (4, ours.head.out)):
            self.head[mine].load_state_dict(theirs.state_dict())

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [1, 2] and the balance loss of one bag [N, D]."""
        slots, aux = self.compressor(bag.unsqueeze(0))
        return self.head(slots.mean(dim=1)), aux


def make_models(device: torch.device) -> tuple[SlideClassifier, PlainClassifier]:
    """Both formulations with the same weights."""
    torch.manual_seed(0)
    config = CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS, hidden_dim=HIDDEN)
    ours = SlideClassifier(SlotCompressor(config), ClassifierConfig(classes=["a", "b"]))
    plain = PlainClassifier(ours)
    return ours.to(device), plain.to(device)


def check_gradients(bags: list[Tensor], labels: Tensor) -> float:
    """The largest deviation of a gradient, relative to the largest gradient of its tensor.

    Without noise and dropout. The balance loss of a batch is no mean of the slides' (it multiplies
    means), so it takes part for every slide alone, and the batch is compared without it.
    """
    ours, plain = make_models(labels.device)
    ours.eval(), plain.eval()
    worst = 0.0
    for aux_weight, part in [(0.0, range(len(bags))), *((AUX_WEIGHT, [i]) for i in range(2))]:
        for model in (ours, plain):
            model.zero_grad()
        output = ours([bags[i] for i in part])
        loss = nn.functional.cross_entropy(output.logits, labels[list(part)])
        assert output.routing is not None
        (loss + aux_weight * output.routing.balance_loss()).backward()
        for i in part:
            logits, aux = plain(bags[i].float())
            loss = nn.functional.cross_entropy(logits, labels[i : i + 1]) + aux_weight * aux
            (loss / len(part)).backward()
        worst = max(worst, _deviation(ours, plain))
    return worst


def _deviation(ours: SlideClassifier, plain: PlainClassifier) -> float:
    experts = plain.compressor.experts

    def stacked(layer: int, kind: str) -> Tensor:
        grads = [expert.get_submodule(str(layer)).get_parameter(kind).grad for expert in experts]
        return torch.stack([grad.T if grad.dim() == 2 else grad[None] for grad in grads])

    mine = ours.compressor.experts
    pairs = [
        (mine.w_in, stacked(0, "weight")),
        (mine.b_in, stacked(0, "bias")),
        (mine.w_out, stacked(3, "weight")),
        (mine.b_out, stacked(3, "bias")),
        (mine.norm_weight, stacked(4, "weight")),
        (mine.norm_bias, stacked(4, "bias")),
        (ours.compressor.router.gate.weight, plain.compressor.gate.weight.grad),
        (ours.compressor.router.gate.bias, plain.compressor.gate.bias.grad),
        (ours.head.hidden.weight, plain.head[1].weight.grad),
        (ours.head.out.weight, plain.head[4].weight.grad),
    ]
    return max(float((a.grad - b).abs().max() / b.abs().max()) for a, b in pairs)


def ours_step(
    bags: list[Tensor], labels: Tensor, *, batch: int, bf16: bool
) -> Callable[[], object]:
    """Step as `tcssa.mil.training.fit` does: slides of a batch together, fused AdamW."""
    model, _ = make_models(labels.device)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        for begin in range(0, len(bags), batch):
            optimiser.zero_grad()
            with torch.autocast(labels.device.type, dtype=torch.bfloat16, enabled=bf16):
                output = model(bags[begin : begin + batch])
                loss = nn.functional.cross_entropy(output.logits, labels[begin : begin + batch])
            assert output.routing is not None
            (loss + AUX_WEIGHT * output.routing.balance_loss()).backward()
            optimiser.step()

    return step


def plain_step(bags: list[Tensor], labels: Tensor) -> Callable[[], object]:
    """One slide at a time, gradients accumulated, AdamW's default step."""
    _, model = make_models(labels.device)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        for i, bag in enumerate(bags):
            logits, aux = model(bag.float())
            loss = nn.functional.cross_entropy(logits, labels[i : i + 1]) + AUX_WEIGHT * aux
            (loss / len(bags)).backward()
        optimiser.step()

    return step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    device = torch.device(parser.parse_args().device)
    torch.manual_seed(1)
    bags = [torch.randn(NUM_PATCHES, FEATURE_DIM).half().to(device) for _ in range(BATCH)]
    labels = torch.randint(2, (BATCH,)).to(device)
    console = Console(width=110)
    deviation = check_gradients(bags, labels)
    console.print(f"gradients deviate by at most {deviation:.1e} of the largest of their tensor")
    assert deviation < (1e-5 if device.type == "cpu" else 1e-4)  # a GPU adds up in another order
    steps = {
        "plain, one slide at a time": plain_step(bags, labels),
        "ours, float32": ours_step(bags, labels, batch=BATCH, bf16=False),
        "ours, --precision bf16": ours_step(bags, labels, batch=BATCH, bf16=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - begin)
    best = {name: min(rounds[1:]) for name, rounds in seconds.items()}
    plain = best["plain, one slide at a time"]
    where = f"{torch.get_num_threads()} threads"
    if device.type == "cuda":
        where = torch.cuda.get_device_name()
    table = Table(
        title=f"A step on {BATCH} slides of {NUM_PATCHES} patches, D = {FEATURE_DIM}, "
        f"K = {NUM_SLOTS}, {where}"
    )
    for title in ("", "ms", "slides/s", "times plain"):
        table.add_column(title, justify="right" if title else "left")
    for name, best_s in best.items():
        table.add_row(name, f"{best_s * 1e3:.1f}", f"{BATCH / best_s:.1f}", f"{plain / best_s:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
