"""Runs of a slide language model with random weights, and benchmarks to ask them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from factories import make_compressor, write_bag
from vqa_models import tiny_qwen3

from tcssa.vqa.model.llm import load_llm
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa.vqa.model.run import LoadedVqa, load_vqa, save_vqa
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate
from tcssa.vqa.settings import VisualKind

ENCODER = "test_encoder"
HEADER = [
    "ID", "Slide", "Tumor", "Broad Category", "Narrow Category", "Question", "A", "B", "C", "D",
    "Answer",
]  # fmt: skip


def write_tiny_run(
    folder: Path,
    *,
    encoder: str | None = ENCODER,
    seed: int = 0,
    feature_dim: int = 16,
    kind: VisualKind = "tcssa",
) -> Path:
    """A run directory of random weights: K = 6 slots, or as many tokens, and a tiny Qwen3."""
    llm = load_llm(str(tiny_qwen3(folder / "llm", seed)))
    torch.manual_seed(seed)
    width = llm.model.get_input_embeddings().weight.shape[1]
    projector = Projector(ProjectorConfig(feature_dim=feature_dim, hidden_dim=32, token_dim=width))
    prompts = PromptBuilder(llm.tokenizer, ChatTemplate.of(llm.tokenizer))
    visual = build_visual(
        VisualConfig(kind=kind, feature_dim=feature_dim, num_tokens=6),
        make_compressor(feature_dim, seed=seed) if kind == "tcssa" else None,
    )
    model = SlideLanguageModel(visual, projector, llm.model, prompts.image_token_id)
    save_vqa(folder / "run", model, prompts, llm, stage=1, encoder=encoder)
    return folder / "run"


def load_tiny_vqa(folder: Path) -> LoadedVqa:
    """Such a run, loaded."""
    return load_vqa(write_tiny_run(folder), device="cpu")


def slide_name(number: int) -> str:
    """Slides of different patients, as TCGA names them."""
    return f"TCGA-AA-{number:04d}-01Z-00-DX1"


def write_slides(folder: Path, numbers: Sequence[int]) -> Path:
    """Patch features of some slides."""
    for number in numbers:
        write_bag(folder / f"{slide_name(number)}.h5", 20 + number, seed=number)
    return folder


def write_slidebench(path: Path, num_slides: int, rows_a_slide: int = 3) -> Path:
    """A file as SlideBench-VQA (TCGA) has it; rows of a slide stand apart from each other."""
    rows = []
    for row in range(num_slides * rows_a_slide):
        broad = ("Microscopy", "Diagnosis", "Clinical")[row % 3]
        rows.append(
            [
                row + 1, f"features/h5_files/{slide_name(row % num_slides)}.h5", "LUAD", broad,
                f"{broad} {row % 2}", f"Question {row} about what is seen?",
                f"first {row}", f"second {row}", f"third {row}", f"fourth {row}", "ABCD"[row % 4],
            ]
        )  # fmt: skip
    return write_rows(path, rows)


def write_rows(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Rows of SlideBench-VQA (TCGA)."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        writer.writerows(rows)
    return path
