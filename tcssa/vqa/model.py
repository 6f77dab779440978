"""A language model that sees slides.

Shapes: B rows, L tokens of the longest, N patches, V visual tokens, D features, H the language
model's width, T learned tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from tcssa.vqa.projector import Projector
from tcssa.vqa.visual import VisualEncoder


@dataclass(frozen=True)
class Batch:
    """Rows, padded to the longest on either side."""

    input_ids: Tensor
    """[B, L], one placeholder for each visual token."""
    attention_mask: Tensor
    """[B, L]: 0 where a row is padded."""
    labels: Tensor
    """[B, L]: -100 where nothing is learned."""
    visual: list[Tensor]
    """Of each row the visual tokens [V, D], or the patch features [N, D]."""
    slide_ids: list[str]
    encoded: bool = False
    """Whether `visual` holds visual tokens, which go straight to the projector. Patch features go
    through the visual encoder first."""

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        raise NotImplementedError


@dataclass(frozen=True)
class Output:
    """What a batch comes to."""

    loss_sum: Tensor
    """Cross-entropy summed over all learned tokens, 0-dim, float32."""
    num_targets: int
    """How many those are."""
    aux_loss: Tensor | None
    """Mean balance loss of the rows' slides; None unless the compressor is in training."""
    logits: Tensor
    """That predict the learned tokens, row by row [T, vocabulary], float32."""


class SlideLanguageModel(nn.Module):
    """Visual encoder, projector, language model.

    A part none of whose parameters train stays in evaluation mode, whatever `train` is called with;
    of a language model with LoRA only the adapter's own modules ever leave it.

    Args:
        visual: Makes visual tokens of patch features.
        projector: Brings them to the language model's width.
        llm: A causal language model of transformers or peft, hence Any.
        image_token_id: The placeholder.
    """

    def __init__(
        self, visual: VisualEncoder, projector: Projector, llm: Any, image_token_id: int
    ) -> None:
        super().__init__()
        raise NotImplementedError

    def set_trainable(
        self, stage: Literal[1, 2], *, train_compressor: bool = False, train_projector: bool = False
    ) -> None:
        """Choose what trains: the projector in stage 1, LoRA in stage 2, and what else is asked.

        The pooling of abmil trains with the projector.

        Raises:
            UsageError: There is no compressor, or no LoRA.
        """
        raise NotImplementedError

    def embed(self, input_ids: Tensor, visual_tokens: Sequence[Tensor]) -> Tensor:
        """Embed prompts [B, L] with every row's visual tokens [V, D] in place: [B, L, H].

        Raises:
            ShapeError: A row has another number of placeholders than visual tokens.
        """
        raise NotImplementedError

    def forward(self, batch: Batch) -> Output:
        """The loss of a batch; a row's share does not depend on the other rows or on padding."""
        raise NotImplementedError
