"""Memory of a language model's training: the printed estimate beside what a step took.

``measure`` trains one micro-batch of Qwen3-0.6B's shape with random weights on the CPU, each case
in a process of its own, and compares the estimate with the peak of the resident memory.
``estimate`` gives the estimate for Qwen3-4B's shape: of two of its layers, multiplied to 36.
nf4 and int8 need ``tcssa[quantize]``.

    python benchmarks/vqa_memory.py measure
    python benchmarks/vqa_memory.py estimate
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from tcssa.vqa.model.lora import add_lora
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa.vqa.model.quantization import (
    keep_differentiable,
    largest_unpacked,
    loading_options,
)
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import IGNORED
from tcssa.vqa.settings import LoraSettings
from tcssa.vqa.training.batches import collate
from tcssa.vqa.training.fit import _let_frozen_layers_checkpoint
from tcssa.vqa.training.memory import Memory, estimate_memory
from tcssa.vqa.training.packing import collate_packed
from tcssa.vqa.training.rows import Row

SMALL = {"hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16, "layers": 28}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 8, "layers": 1}
LARGE = {"hidden_size": 2560, "intermediate_size": 9728, "num_attention_heads": 32, "layers": 36}
CASES = ["1 fp32", "2 fp32", "2 fp32 checkpointing", "2 fp32 pack", "2 nf4 fp32", "2 int8 fp32"]
SLOTS, TARGETS = 32, 64


def build(shape: dict[str, int], num_layers: int, stage: int, words: list[str]) -> Any:
    """Make a slide language model of a shape, with random weights."""
    dtype = torch.bfloat16 if "bf16" in words else torch.float32
    sizes = {name: size for name, size in shape.items() if name != "layers"}
    config = Qwen3Config(
        vocab_size=151_936, num_key_value_heads=8, head_dim=128, num_hidden_layers=num_layers,
        tie_word_embeddings=True, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    llm = AutoModelForCausalLM.from_config(config, dtype=dtype)
    kind: Any = next((word for word in words if word in ("nf4", "int8")), None)
    if kind:
        with tempfile.TemporaryDirectory() as folder:
            llm.save_pretrained(folder)
            how = loading_options(kind, dtype, "cpu")
            llm = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **how)
        keep_differentiable(llm)
        for parameter in llm.parameters():
            if parameter.is_floating_point():  # else it keeps the whole file mapped
                parameter.data = parameter.data.clone()
    llm = add_lora(llm.eval(), LoraSettings()) if stage == 2 else llm.eval()
    visual = build_visual(VisualConfig(kind="sample", feature_dim=512, num_tokens=SLOTS))
    projector = Projector(
        ProjectorConfig(feature_dim=512, hidden_dim=2048, token_dim=shape["hidden_size"])
    )
    model = SlideLanguageModel(visual, projector, llm, 1)
    model.set_trainable(stage, train_projector=True)
    return model


def row(length: int) -> Row:
    """A row whose last tokens are learned."""
    ids = torch.full((length,), 2, dtype=torch.int32)
    ids[1 : 1 + SLOTS] = 1
    labels = torch.full((length,), IGNORED, dtype=torch.int32)
    labels[-TARGETS:] = 3
    return Row("r", "s", "S", ("S",), ((Path("S.h5"),),), ids, labels, TARGETS, {})


def resident(peak: bool) -> float:
    """Resident memory of this process in GB, now or at its highest."""
    name = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e9


def measure(case: str, length: int, num_rows: int) -> None:
    """Print a case's estimate and what a step took, over what libraries take by themselves."""
    take_a_step(case, TINY, 64 + TARGETS, 1)  # loads them
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident(peak=False)
    memory, twice = take_a_step(case, SMALL, length, num_rows)
    found, said = resident(peak=True) - before, memory.total(checkpointing=twice) / 1e9
    print(f"| {case} | {said:.2f} GB | {found:.2f} GB | {said / found - 1:+.0%} |", flush=True)


def take_a_step(
    case: str, shape: dict[str, int], length: int, num_rows: int
) -> tuple[Memory, bool]:
    """Estimate a case and take a step; whether activations are computed twice comes with it."""
    stage, *words = case.split()
    model = build(shape, shape["layers"], int(stage), words)
    rows = [row(length)] * num_rows
    packed, twice = "pack" in words, "checkpointing" in words
    autocast = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in words)
    memory = estimate_memory(model, [rows], autocast, packed=packed)
    if twice:
        model.checkpoint_activations()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()  # makes the moments
    tokens = torch.randn(SLOTS, 512)
    if packed:
        batch = collate_packed(rows, lambda _: tokens, encoded=True)
    else:
        batch = collate(rows, lambda _: tokens, 0, encoded=True)
    model.train()
    _let_frozen_layers_checkpoint(model)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew
    with autocast:
        model(batch).loss_sum.backward()
    return memory, twice


def of_all_layers(model: Any, memory: Memory, num_layers: int) -> Memory:
    """Multiply what grows with the layers, of which the model has two."""
    times = num_layers / 2
    embedding = model.llm.get_input_embeddings().weight
    fixed = embedding.nbytes + largest_unpacked(model.llm, embedding.element_size())
    fixed += sum(p.nbytes for p in model.projector.parameters())
    in_projector = 12 * sum(p.numel() for p in model.projector.parameters())
    return replace(
        memory,
        weights=round(fixed + times * (memory.weights - fixed)),
        trained=round(in_projector + times * (memory.trained - in_projector)),
        kept=round(times * memory.kept),
        inputs=round(times * memory.inputs),
    )


def estimate(num_rows: int, length: int) -> None:
    """Print estimates for Qwen3-4B's shape."""
    for case in ("1 fp32", "1 bf16", "1 nf4 bf16", "2 fp32", "2 bf16", "2 nf4 bf16", "2 int8 bf16"):
        stage, *words = case.split()
        model = build(LARGE, 2, int(stage), words)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in words)
        memory = estimate_memory(model, [[row(length)] * num_rows], autocast)
        whole = of_all_layers(model, memory, LARGE["layers"])
        plain, twice = (whole.total(checkpointing=on) / 1e9 for on in (False, True))
        print(f"| {case} | {whole.weights / 1e9:.1f} | {plain:.1f} | {twice:.1f} |", flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measure", "estimate", "case"))
    parser.add_argument("--case", default=CASES[0])
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=522)
    parser.add_argument("--layers", type=int, default=28, help="of the measured model")
    given = parser.parse_args()
    SMALL["layers"] = given.layers
    if given.what == "case":
        measure(given.case, given.length, given.rows)
    elif given.what == "estimate":
        estimate(given.rows, given.length)
    else:
        print("| case | estimate | measured | |\n| --- | --- | --- | --- |", flush=True)
        size = ["--rows", str(given.rows), "--length", str(given.length)]
        size += ["--layers", str(given.layers)]
        for case in CASES:
            command = [sys.executable, __file__, "case", "--case", case, *size]
            # what is freed goes back at once, so that the resident memory is what is in use
            variables = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
            subprocess.run(command, env=variables, check=True)


if __name__ == "__main__":
    main()
