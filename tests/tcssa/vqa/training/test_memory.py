"""The memory that a training is said to need, and what follows from it."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from heard import Heard
from optional_packages import needs_bitsandbytes
from torch.profiler import ProfilerActivity, profile
from vqa_training import row, tiny, write_material

from tcssa.config.settings import read_resolved
from tcssa.errors import RunError
from tcssa.vqa.model.model_setup import Parts, load_parts
from tcssa.vqa.settings import LlmSettings, VqaSettings
from tcssa.vqa.training import fit
from tcssa.vqa.training import memory as memory_module
from tcssa.vqa.training.batches import collate
from tcssa.vqa.training.corpus import read_candidates
from tcssa.vqa.training.memory import estimate_memory
from tcssa.vqa.training.rows import Row
from tcssa.vqa.training.train import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def material(tiny_llm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_material(tmp_path_factory.mktemp("memory"), tiny_llm_folder)
    rows = [row(number, "What is seen? " * 20, "nothing " * 8) for number in range(10)]
    (folder / "long.json").write_text(json.dumps(rows))
    return folder


def profiled_step(parts: Parts, rows: Sequence[Row]) -> profile:
    model = parts.model
    tokens = torch.ones(6, model.visual.feature_dim)
    batch = collate(rows, lambda _: tokens, parts.pad_id, encoded=True)
    model.train()
    fit._let_frozen_layers_checkpoint(model)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        model(batch).loss_sum.backward()
    return profiled


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_estimate_is_what_a_step_needs(material: Path, stage: int, checkpointing: bool) -> None:
    options = {"stage": stage, "train_projector": True}
    settings = tiny(material, "long.json", train=options)
    parts = load_parts(settings, CPU)
    model = parts.model
    rows = read_candidates(settings, parts).train[:4]
    memory = estimate_memory(model, [rows], nullcontext())
    if checkpointing:
        model.checkpoint_activations()
    profiled = profiled_step(parts, rows)
    assert memory.activations(checkpointing=checkpointing) == pytest.approx(
        _peak(profiled), rel=0.15
    )


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_the_estimate_knows_quantised_weights(material: Path, kind: str) -> None:
    settings = tiny(material, "long.json", llm={"quantize": kind}, train={"train_projector": True})
    parts = load_parts(settings, CPU)
    plain = load_parts(tiny(material, "long.json"), CPU)
    rows = read_candidates(settings, parts).train[:4]
    estimate = [estimate_memory(each.model, [rows], nullcontext()) for each in (parts, plain)]
    numbers = sum(p.numel() for p in plain.model.llm.parameters() if p.ndim == 2)
    numbers -= plain.model.llm.get_input_embeddings().weight.numel()
    saved = estimate[1].weights - estimate[0].weights + 4 * 64 * 128  # the largest, unpacked
    lowest, highest = {"nf4": (4, 6), "int8": (8, 8.8)}[kind]  # of so small layers
    assert lowest < 32 - 8 * saved / numbers < highest, "bits a number"
    peak = _peak(profiled_step(parts, rows))
    assert estimate[0].activations(checkpointing=False) == pytest.approx(peak, rel=0.15)


def test_the_passes_of_the_estimate_leave_nothing_behind(material: Path) -> None:
    settings = tiny(material, "long.json", train={"stage": 2, "train_projector": True})
    parts = load_parts(settings, CPU)
    rows = read_candidates(settings, parts).train[:4]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        memory = estimate_memory(parts.model, [rows], nullcontext())
    allocated = _allocated(profiled)
    assert max(allocated) > 10_000
    assert allocated[-1] < memory.layer / 100


def _peak(profiled: profile) -> int:
    """Return the most bytes that were allocated at a time."""
    return max(_allocated(profiled))


def _allocated(profiled: profile) -> list[int]:
    """Return the bytes that were allocated after each change."""
    assert profiled.profiler is not None
    assert profiled.profiler.kineto_results is not None
    events = profiled.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return list(accumulate(nbytes for _, nbytes in changes))


def test_the_memory_is_said_and_decides_about_checkpointing(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(material, train={"precision": "auto"})
    monkeypatch.setattr(memory_module, "memory_of", lambda _: 1e9)
    plenty = Heard()
    metrics = train(settings, tmp_path / "plenty", plenty)
    assert plenty.notes[0] == "precision fp32: chosen for the device, cpu"
    assert any("GB of memory, of 1.0: weights" in note for note in plenty.notes)
    assert any("(gradient checkpointing off)" in note for note in plenty.notes)
    assert not plenty.warnings
    monkeypatch.setattr(memory_module, "memory_of", lambda _: 1e6)
    scarce = Heard()
    assert train(settings, tmp_path / "scarce", scarce)["val_loss"] == metrics["val_loss"]
    assert any("(gradient checkpointing on)" in note for note in scarce.notes)
    assert "the memory may not suffice" in scarce.warnings[-1]
    kept = read_resolved(tmp_path / "plenty", VqaSettings, RunError)
    assert kept.train.precision == "fp32"  # which stage 2 inherits
    again = Heard()
    train(settings, tmp_path / "plenty", again)
    assert again.notes == [f"{tmp_path / 'plenty'} is complete already; nothing to do"]


def test_checkpointing_of_older_runs_and_of_yaml_is_read() -> None:
    said = [LlmSettings.model_validate({"gradient_checkpointing": v}) for v in (True, False, "on")]
    assert [each.gradient_checkpointing for each in said] == ["on", "off", "on"]
