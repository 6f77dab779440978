"""A language model that sees slides.

Shapes: B rows, L tokens of the longest, N patches, V visual tokens, D features, H the language
model's width, T learned tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.errors import ShapeError, UsageError
from tcssa.vqa.model.projector import Projector
from tcssa.vqa.model.visual_encoder import VisualEncoder
from tcssa.vqa.prompts.prompt import IGNORED

LORA = "lora_"
"""In the name of every module and parameter that LoRA adds."""


class SlideSpan(NamedTuple):
    """A slide among several whose patch features lie behind each other."""

    slide_id: str
    num_patches: int


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
    """Each row's visual tokens [V, D], or patch features [N, D]; of several slides that are seen
    one by one those of all, behind each other."""
    slide_ids: list[str]
    """The slide of each row, or the name of several."""
    positions: Tensor | None = None
    """[1, L], where rows lie behind each other: each token's place in its own row. None where
    every row stands alone."""
    slides: list[list[SlideSpan]] | None = None
    """Slides that the patch features of each row are of; None where each row has one."""
    encoded: bool = False
    """True if `visual` holds visual tokens, which go straight to the projector. Patch features go
    through the visual encoder first."""

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on another device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            labels=self.labels.to(device),
            visual=[tensor.to(device) for tensor in self.visual],
            positions=None if self.positions is None else self.positions.to(device),
        )


@dataclass(frozen=True)
class Output:
    """The result of a batch."""

    loss_sum: Tensor
    """Cross-entropy summed over all learned tokens, 0-dim, float32."""
    num_targets: int
    """Number of learned tokens."""
    aux_loss: Tensor | None
    """Mean balance loss of the rows' slides; None unless the compressor is in training."""
    logits: Tensor
    """Logits that predict the learned tokens, row by row [T, vocabulary], float32."""


class SlideLanguageModel(nn.Module):
    """Visual encoder, projector, language model.

    A part none of whose parameters train stays in evaluation mode, whatever `train` is called with;
    of a language model with LoRA only what LoRA added ever leaves it.

    Args:
        visual: Makes visual tokens of patch features.
        projector: Brings them to the language model's width.
        llm: A causal language model of transformers or peft, hence Any.
        image_token_id: The placeholder of a visual token.

    Raises:
        ShapeError: The widths of the parts do not fit.
    """

    def __init__(
        self, visual: VisualEncoder, projector: Projector, llm: Any, image_token_id: int
    ) -> None:
        super().__init__()
        width = llm.get_input_embeddings().weight.shape[1]
        if (projector.config.feature_dim, projector.config.token_dim) != (
            visual.feature_dim,
            width,
        ):
            raise ShapeError(
                f"the projector brings {projector.config.feature_dim} to "
                f"{projector.config.token_dim}, it should bring {visual.feature_dim} to {width}"
            )
        self.visual, self.projector, self.llm = visual, projector, llm
        self.image_token_id = image_token_id
        self.requires_grad_(False)
        self.eval()

    @property
    def has_lora(self) -> bool:
        """True if the language model carries LoRA."""
        return any(LORA in name for name, _ in self.llm.named_parameters())

    def set_trainable(
        self, stage: Literal[1, 2], *, train_compressor: bool = False, train_projector: bool = False
    ) -> None:
        """Choose what trains: the projector in stage 1, LoRA in stage 2, and what else is asked.

        The pooling of abmil and the scorer of topm train with the projector.

        Args:
            stage: 1 trains the projector, 2 trains LoRA.
            train_compressor: Train the compressor too.
            train_projector: Train the projector in stage 2 too.

        Raises:
            UsageError: The compressor is to train and there is none, or stage 2 finds no LoRA.
        """
        compressor = getattr(self.visual, "compressor", None)
        if train_compressor and compressor is None:
            raise UsageError(
                f"--train-compressor needs --visual tcssa, not {self.visual.kind}",
            )
        if stage == 2 and not self.has_lora:
            raise UsageError("stage 2 trains LoRA, and the language model has none")
        self.requires_grad_(False)
        projects = stage == 1 or train_projector
        self.projector.requires_grad_(projects)
        self.visual.requires_grad_(projects and compressor is None)
        if compressor is not None:
            compressor.requires_grad_(train_compressor)
        for name, parameter in self.llm.named_parameters():
            parameter.requires_grad_(stage == 2 and LORA in name)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; what is frozen stays in evaluation mode."""
        super().train(False)
        self.training = mode
        for part in (self.visual, self.projector):
            part.train(mode and _trains(part))
        if _trains(self.llm):
            for name, module in self.llm.named_modules():
                if LORA in name:
                    module.train(mode)
        return self

    def checkpoint_activations(self) -> None:
        """Compute the language model's activations twice from now on, to save memory."""
        llm = self.llm.get_base_model() if self.has_lora else self.llm
        llm.activation_checkpointing_enable({"use_reentrant": False})

    def embed(self, input_ids: Tensor, visual_tokens: Sequence[Tensor]) -> Tensor:
        """Embed prompts, with every row's visual tokens in place.

        Args:
            input_ids: Token ids [B, L], one placeholder for each visual token.
            visual_tokens: Visual tokens [V, D] of each row.

        Returns:
            Embeddings [B, L, H].

        Raises:
            ShapeError: A row has another number of placeholders than visual tokens.
        """
        is_visual = input_ids == self.image_token_id
        places, tokens = is_visual.sum(dim=1).tolist(), [len(row) for row in visual_tokens]
        if places != tokens:
            raise ShapeError(f"rows have {places} places for visual tokens, and {tokens} of these")
        embeds: Tensor = self.llm.get_input_embeddings()(input_ids)
        if not any(tokens):
            return embeds
        projected = self.projector(torch.cat(list(visual_tokens))).to(embeds.dtype)
        return embeds.masked_scatter(is_visual.unsqueeze(-1), projected)

    def forward(self, batch: Batch) -> Output:
        """Compute a batch's loss; a row's share does not depend on the other rows or on padding.

        Raises:
            ShapeError: The placeholders of a row and its visual tokens differ in number.
        """
        tokens, aux_loss = self._see(batch)
        mask: Tensor | None = batch.attention_mask
        positions = (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        if batch.positions is not None:
            # transformers takes places that begin anew, without a mask, for rows of their own
            mask, positions, tokens = None, batch.positions, [torch.cat(tokens)]
        targets = batch.labels[:, 1:]
        is_target = targets != IGNORED
        columns = is_target.any(dim=0).nonzero().squeeze(1)
        output: Any = self.llm(
            inputs_embeds=self.embed(batch.input_ids, tokens),
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            logits_to_keep=columns,  # only what predicts something is multiplied with [H, vocab]
        )
        logits = output.logits[is_target[:, columns]].float()
        loss_sum = F.cross_entropy(logits, targets[is_target].long(), reduction="sum")
        return Output(loss_sum, len(logits), aux_loss, logits)

    def _see(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        """Return the visual tokens of every row, and the balance loss if the compressor trains."""
        if batch.encoded:
            return batch.visual, None
        slides = batch.slides or [
            [SlideSpan(slide_id, len(features))]
            for features, slide_id in zip(batch.visual, batch.slide_ids, strict=True)
        ]
        seen = [self.see(*row) for row in zip(batch.visual, slides, strict=True)]
        losses = [loss for _, loss in seen if loss is not None]
        return [tokens for tokens, _ in seen], torch.stack(losses).mean() if losses else None

    def see(self, features: Tensor, slides: Sequence[SlideSpan]) -> tuple[Tensor, Tensor | None]:
        """Make the visual tokens of slides, those of one behind those of the other.

        Args:
            features: Patch features of all, behind each other [N, D].
            slides: The slides, at least one, and how many of the patches are each one's.

        Returns:
            Visual tokens [V, D], and the mean balance loss of a compressor that trains.
        """
        parts = torch.split(features, [slide.num_patches for slide in slides])
        seen = [
            self.visual(part, slide.slide_id) for part, slide in zip(parts, slides, strict=True)
        ]
        losses = [loss for _, loss in seen if loss is not None]
        tokens = torch.cat([tokens for tokens, _ in seen])
        return tokens, torch.stack(losses).mean() if losses else None


def _trains(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())
