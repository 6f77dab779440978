"""Settings of `tcssa import-vqa`. Imports nothing heavy: the command line reads its help here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tcssa.config.settings import Section
from tcssa.vqa.settings import DEFAULT_LLM


class ImportSettings(Section):
    """Settings of a slide language model that the reference implementation trained."""

    llm: str = Field(
        default=DEFAULT_LLM,
        description="Folder or name of the language model that it was trained on.",
    )
    allow_hub: bool = Field(
        default=False, description="Allow the language model to be downloaded from its hub."
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run code that comes with the language model. Only if you trust it.",
    )
    precision: Literal["bf16", "fp32"] = Field(
        default="bf16", description="Type of the language model's weights, bf16 as published."
    )
    chat_template: bool = Field(
        default=False,
        description="Ask in the language model's chat template, in which it was trained. The "
        "published evaluation asks without one.",
    )
    encoder: str | None = Field(
        default=None,
        description="Encoder of the features that it was trained on; the files do not say it.",
    )
