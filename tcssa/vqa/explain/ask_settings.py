"""Settings of `tcssa ask`. Imports nothing heavy: the command line reads its help here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tcssa.config.settings import Section


class AskSettings(Section):
    """Settings of a question about one slide."""

    explain: bool = Field(
        default=True, description="Blank every slot in turn, to see which the answer rests on."
    )
    slide_mpp: float | None = Field(
        default=None, description="Level-0 resolution of --slide, if it states none."
    )
    budget: int | None = Field(
        default=None,
        ge=1,
        description="Slots that the slide becomes, of a compressor trained with --nested; as many "
        "as in training if not given.",
    )
    max_new_tokens: int = Field(
        default=128, ge=1, description="Where a generated answer is cut at the latest."
    )
    batch_size: int = Field(default=16, ge=1, description="Prompts read at a time.")
    llm: str | None = Field(
        default=None,
        description="Where the language model lies, if not where it was trained from.",
    )
    allow_hub: bool = Field(default=False, description="Let the language model be downloaded.")
    trust_remote_code: bool = Field(
        default=False,
        description="Run code that comes with the language model; only if you trust it.",
    )
    encoder: str | None = Field(
        default=None,
        description="Of --slide: the run's encoder, where it is python:… or hf:…; a run's word "
        "alone is no reason to load it.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto",
        description="An unavailable device is an error; there is no silent CPU fallback.",
    )
