"""Settings of `tcssa chat`. Imports nothing heavy: the command line reads its help here."""

from __future__ import annotations

from pydantic import Field

from tcssa.vqa.explain.ask_settings import AskSettings


class ChatSettings(AskSettings):
    """Settings of a conversation about one slide."""

    system: str | None = Field(
        default=None, description="System prompt. [default: that of the training]"
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        description="Divides the logits before a token is drawn; 0 takes the likeliest.",
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Draw among the likeliest tokens with this share of the probability.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the draws.")
