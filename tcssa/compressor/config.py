"""Configuration of a compressor."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcssa.budgets import budgets_of


class CompressorConfig(BaseModel):
    """The choices that a compressor is built by; everything else follows from its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature_dim: int = Field(
        default=1024, ge=1, description="Length D of a slot, and of a patch as the gate sees it."
    )
    embedded_from: int | None = Field(
        default=None,
        ge=1,
        description="Length of a patch feature before a learned embedding to D; None without one, "
        "as in the paper.",
    )
    num_slots: int = Field(default=32, ge=2, description="Number K of slots a slide becomes.")
    top_k: int = Field(default=2, ge=1, description="Slots that every patch is routed to.")
    hidden_dim: int = Field(default=512, ge=1, description="Hidden width of a slot's expert.")
    dropout: float = Field(default=0.25, ge=0, lt=1, description="Dropout inside an expert.")
    noise_std: float = Field(
        default=0.1,
        ge=0,
        allow_inf_nan=False,
        description="Gaussian noise on the gate's logits, in training only.",
    )

    salience: bool = Field(
        default=False,
        description="A learned factor of each patch's weights, 0 to 2; the paper has none.",
    )
    nested: bool = Field(
        default=False,
        description="Whether its slots may be folded into fewer ones; the paper's may not.",
    )
    auto_share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Share of the variance between a slide's slots that an automatic budget keeps.",
    )
    spatial: bool = Field(
        default=False,
        description="Whether slots are told where their patches lie; the paper's are not.",
    )

    @property
    def patch_dim(self) -> int:
        """Length of the patch features that the model takes, before any embedding."""
        return self.embedded_from or self.feature_dim

    def facts(self) -> dict[str, Any]:
        """Return the choices as files state them; no embedding is stated by leaving it out."""
        return self.model_dump(exclude={"embedded_from"} if self.embedded_from is None else None)

    @property
    def budgets(self) -> list[int]:
        """Numbers of slots that a slide may become, the smallest first."""
        return budgets_of(self.num_slots) if self.nested else [self.num_slots]

    @model_validator(mode="after")
    def _top_k_fits(self) -> Self:
        if self.top_k > self.num_slots:
            raise ValueError(f"top_k = {self.top_k} exceeds num_slots = {self.num_slots}")
        return self
