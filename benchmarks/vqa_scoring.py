"""Time to answer a slide's questions: shared beginning, no cache, and generation.

    python benchmarks/vqa_scoring.py --llm MODEL [--questions 20] [--tokens 32]

MODEL is what `tcssa train-vqa --llm` takes. Projector and slots are random: they do not change
how long it takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.likelihood import Likelihood, letter_reply
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.model.llm import load_llm
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate

OPTIONS = ["Squamous cell carcinoma", "Small cell carcinoma", "Adenocarcinoma", "Lymphoma"]
FEATURE_DIM = 512


def main() -> None:
    """Time each way on the same questions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--llm", required=True)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=32, help="visual tokens a slide")
    arguments = parser.parse_args()
    model, prompts = build(arguments.llm)
    visual = torch.randn(arguments.tokens, FEATURE_DIM)
    rows = []
    for number in range(arguments.questions):
        text = f"Question {number}: which of these is most likely, by what is seen?"
        turn = prompts.question_turn(text, OPTIONS)
        rows.append(Prompt(prompts.prompt_ids([turn], len(visual)), visual))
    likelihood = Likelihood(model, prompts)
    writer = Generate(model, prompts, max_new_tokens=8)
    shown = [OPTIONS] * len(rows)
    ways: dict[str, Callable[[], list[int | None]]] = {
        "likelihood, shared beginning": lambda: choices(likelihood, rows, shown),
        "likelihood, each prompt alone": lambda: alone(model, likelihood, rows),
        "generation, 8 tokens": lambda: choices(writer, rows, shown),
    }
    print(f"{len(rows)} questions of one slide, {len(rows[0].ids)} tokens each")
    for way in (likelihood, writer):  # warms up
        way.reply(rows[:1], shown[:1])
    alone(model, likelihood, rows[:1])
    chosen = {}
    for name, way in ways.items():
        began = time.perf_counter()
        chosen[name] = way()
        seconds = time.perf_counter() - began
        print(f"{name:32} {seconds:7.2f} s  {len(rows) / seconds:6.1f} questions/s", flush=True)
    shared, each, _ = chosen.values()
    print(f"same choices with and without the cache: {shared == each}")


def build(llm: str) -> tuple[SlideLanguageModel, PromptBuilder]:
    """The language model behind a random projector."""
    loaded = load_llm(llm)
    prompts = PromptBuilder(loaded.tokenizer, ChatTemplate.of(loaded.tokenizer))
    width = loaded.model.get_input_embeddings().weight.shape[1]
    projector = Projector(ProjectorConfig(feature_dim=FEATURE_DIM, token_dim=width))
    visual = build_visual(VisualConfig(kind="mean", feature_dim=FEATURE_DIM))
    model = SlideLanguageModel(visual, projector, loaded.model, prompts.image_token_id)
    return model.eval(), prompts


def choices(
    method: Likelihood | Generate, rows: list[Prompt], shown: list[list[str]]
) -> list[int | None]:
    """Return the answers of a method."""
    return [reply.predicted for reply in method.reply(rows, shown)]


@torch.no_grad()
def alone(
    model: SlideLanguageModel, likelihood: Likelihood, rows: list[Prompt]
) -> list[int | None]:
    """A whole forward pass for each prompt."""
    found: list[int | None] = []
    for row in rows:
        embeds = model.embed(torch.tensor([list(row.ids)]), [row.visual])
        output = model.llm(inputs_embeds=embeds, use_cache=False, logits_to_keep=1)
        reply = letter_reply(output.logits[0, -1].float(), likelihood.letters[: len(OPTIONS)])
        found.append(reply.predicted)
    return found


if __name__ == "__main__":
    main()
