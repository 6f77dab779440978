"""The run directory of a slide language model: all that it is, but for the language model itself.

::

    RUN/
      vqa.json                  what it is; hashes of all other files; written last
      compressor.safetensors    of --visual tcssa
      visual.safetensors        of --visual abmil
      projector.safetensors
      adapter/                  LoRA, from stage 2 on
      tokenizer/

A merged folder holds the language model too, with LoRA added to its weights; transformers loads it
as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict

from tcssa.vqa.llm import LoadedLLM
from tcssa.vqa.model import SlideLanguageModel
from tcssa.vqa.prompt import PromptBuilder
from tcssa.vqa.template import ChatTemplate
from tcssa.vqa.visual import VisualConfig

VQA_FILE = "vqa.json"


class BaseModelFacts(BaseModel):
    """The language model that a run belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Its name or path; ``.`` where it lies in the folder itself."""
    sha256: str
    dtype: str
    trust_remote_code: bool


class VqaRun(BaseModel):
    """The content of ``vqa.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    tcssa_version: str
    stage: Literal[1, 2]
    encoder: str | None
    """Encoder of the features it was trained on; None where nobody noted it."""
    num_visual_tokens: int | None
    """K of the slots; None where it depends on the slide."""
    feature_dim: int
    visual: VisualConfig
    template: ChatTemplate
    image_token: str
    system: str | None
    llm: BaseModelFacts
    files: dict[str, str]
    """SHA-256 of each file, by its path in the folder."""


@dataclass(frozen=True)
class LoadedVqa:
    """A slide language model, ready to be asked or to be trained on."""

    model: SlideLanguageModel
    prompts: PromptBuilder
    settings: VqaRun
    device: torch.device
    folder: Path
    llm: LoadedLLM
    """Its language model, before LoRA was put on."""

    def describe(self) -> dict[str, Any]:
        """What a report says of it, JSON-able."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Hash of everything that decides its answers."""
        raise NotImplementedError


def save_vqa(
    folder: Path,
    model: SlideLanguageModel,
    prompts: PromptBuilder,
    llm: LoadedLLM,
    *,
    stage: Literal[1, 2],
    encoder: str | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Write a model as a run directory; ``vqa.json`` comes last, and makes it one."""
    raise NotImplementedError


def load_vqa(
    folder: Path | str,
    *,
    llm: str | None = None,
    allow_hub: bool = False,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
) -> LoadedVqa:
    """Load a run directory or a merged folder, in evaluation mode.

    Args:
        folder: The folder.
        llm: Where the language model lies, if not where it was trained from.
        allow_hub: Let it be downloaded.
        device: Where to compute.
        dtype: Of the language model; the one it was trained in if not given.

    Raises:
        RunError: A piece is missing or is not the one that was saved; or it is another base model.
        LlmError: The language model is not there.
    """
    raise NotImplementedError


def merge_vqa(folder: Path, out: Path, *, llm: str | None = None, allow_hub: bool = False) -> None:
    """Write a run as one folder, its language model included and LoRA merged into it.

    Raises:
        RunError: ``out`` holds something already, or the run cannot be loaded.
    """
    raise NotImplementedError
