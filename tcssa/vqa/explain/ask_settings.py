"""Settings of `tcssa ask`. Imports nothing heavy: the command line reads its help here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.settings import OWN_PROMPT, LanguageModelOptions

SlidesTogether = Literal["error", "merge", "concat"]
"""How several slides become one input: not at all, as the slots of all their patches together, or
the tokens of one slide behind those of the other."""


class AskSettings(LanguageModelOptions, EndpointOptions):
    """Settings of a question about a slide, or about several at once."""

    several: SlidesTogether | None = Field(
        default=None,
        description="What several --features become: one set of slots of all their patches "
        "(merge), or the tokens of one slide behind those of the other (concat); error refuses "
        "them. [default: as the run was trained]",
    )

    prompt: str = Field(
        default=OWN_PROMPT,
        min_length=1,
        description="Wording of question and options: own, tc-ssa or slidechat, or a YAML file "
        "with one.",
    )
    explain: bool = Field(
        default=True,
        description="Blank each slot in turn, to find those that the answer depends on.",
    )
    slide_mpp: float | None = Field(
        default=None,
        gt=0,
        description="Level-0 resolution of --slide, in µm per pixel, if it states none.",
    )
    budget: int | None = Field(
        default=None,
        ge=1,
        description="Number of slots the slide becomes, if the compressor was trained with "
        "--nested. [default: as in training]",
    )
    max_new_tokens: int = Field(
        default=128, ge=1, description="Longest generated answer, in tokens."
    )
    batch_size: int = Field(default=16, ge=1, description="Prompts read at a time.")
    encoder: str | None = Field(
        default=None,
        description="The run's encoder for --slide, if it is python:… or hf:…. Code that only the "
        "run names is not loaded.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto",
        description="An unavailable device is an error; there is no silent CPU fallback.",
    )
