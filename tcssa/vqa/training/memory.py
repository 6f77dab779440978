"""Memory that a training needs at its highest, estimated before it begins.

The highest point is the beginning of a backward pass: weights, gradients and AdamW's two moments,
all that autograd keeps of the micro-batch, and the logits of its learned tokens. What autograd
keeps of a token is not looked up for each architecture: two short passes through the very model
tell, and their difference leaves out what does not grow with the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tcssa.compute.devices import memory_of
from tcssa.compute.processes import Processes
from tcssa.reporter import Reporter
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.quantization import largest_unpacked, scale_bytes
from tcssa.vqa.prompts.prompt import IGNORED
from tcssa.vqa.settings import VqaSettings
from tcssa.vqa.training.packing import packs
from tcssa.vqa.training.rows import Row

_GB = 1e9
_USABLE = 0.9
"""Share of a device's memory that the estimate may fill: the rest is for what it does not see."""
_PROBED = (16, 48)
"""Lengths of the two passes."""
_TRAINED_BYTES = 12
"""Of a number that trains: its gradient and AdamW's two moments, float32."""
_MLP_GRADIENTS = 3
"""Gradients that a layer's MLP has at once: of its gate, of the other half, of their product."""
_WIDER = 4
"""Width of an MLP beside the model's, where the configuration does not tell."""
_LOGIT_BYTES = 16
"""Of a learned token's logit: itself, its log-softmax and two gradients, float32."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a training needs, by what they are for."""

    weights: int
    trained: int
    """Gradients and AdamW's moments."""
    kept: int
    """What autograd keeps of a micro-batch."""
    layer: int
    """The part of it that is of one layer."""
    inputs: int
    """What is kept with gradient checkpointing: the input of every layer."""
    gradients: int
    """Gradients of activations while a layer is gone back through."""
    logits: int
    """Logits of the learned tokens, which are gone before the first layer's turn."""

    def activations(self, *, checkpointing: bool) -> int:
        """Return what a micro-batch needs at its highest.

        Args:
            checkpointing: Activations are computed twice.
        """
        if checkpointing:
            return self.inputs + max(self.layer + self.gradients, self.logits)
        return self.kept + max(self.gradients, self.logits)

    def total(self, *, checkpointing: bool) -> int:
        """Add everything up.

        Args:
            checkpointing: Activations are computed twice.
        """
        return self.weights + self.trained + self.activations(checkpointing=checkpointing)

    def shared_by(self, count: int) -> Memory:
        """Return what each of several processes needs that hold a part of every weight.

        Args:
            count: Number of processes.
        """
        return replace(self, weights=self.weights // count, trained=self.trained // count)

    def describe(self, available: int | None, *, checkpointing: bool) -> str:
        """Return the estimate as a line.

        Args:
            available: Bytes that the device has; None where that is not known.
            checkpointing: Activations are computed twice.
        """
        activations = self.activations(checkpointing=checkpointing)
        return (
            f"needs about {self.total(checkpointing=checkpointing) / _GB:.1f} GB of memory"
            + (f", of {available / _GB:.1f}" if available is not None else "")
            + f": weights {self.weights / _GB:.1f}, gradients and AdamW {self.trained / _GB:.1f}, "
            f"activations {activations / _GB:.1f} (gradient checkpointing "
            f"{'on' if checkpointing else 'off'})"
        )


def fit_into_memory(
    model: SlideLanguageModel,
    rows: Sequence[Row],
    settings: VqaSettings,
    accelerator: Any,
    processes: Processes,
    reporter: Reporter,
) -> None:
    """Say how much memory the training needs, and compute activations twice if it must be so.

    Args:
        model: The model on its device, its trainable parts marked.
        rows: The rows to learn, at least one.
        settings: Settings of the training.
        accelerator: Its Accelerator, whose package has no types.
        processes: The processes that train together.
        reporter: Told of the estimate, and warned where nothing suffices.
    """
    options, checkpointing = settings.train, settings.llm.gradient_checkpointing
    by_length = sorted(rows, key=lambda row: row.length)
    if options.pack:
        parts = packs(by_length, settings.corpus.max_length)
    else:
        parts = [by_length[-options.micro_batch_size :]]
    memory = estimate_memory(model, parts, accelerator.autocast(), packed=options.pack)
    if options.shard:
        memory = memory.shared_by(processes.count)
    available = memory_of(processes.device)
    room = math.inf if available is None else _USABLE * available
    twice = checkpointing == "on"
    if checkpointing == "auto":
        twice = memory.total(checkpointing=False) > room
    if twice:
        model.checkpoint_activations()
    reporter.note(memory.describe(available, checkpointing=twice))
    if memory.total(checkpointing=twice) > room:
        reporter.warn(
            "the memory may not suffice: give a smaller --micro-batch-size or --max-length"
            + ("" if twice else ", or --gradient-checkpointing auto")
            + ("" if options.precision == "bf16" else ", or --precision bf16")
            + ("" if settings.llm.quantize else ", or --quantize nf4")
        )


def estimate_memory(
    model: SlideLanguageModel,
    parts: Sequence[Sequence[Row]],
    autocast: AbstractContextManager[Any],
    *,
    packed: bool = False,
) -> Memory:
    """Estimate the memory of a training; the patches of a compressor that trains are not counted.

    Args:
        model: The model on its device, its trainable parts marked, without gradient checkpointing.
        parts: Micro-batches, of which the largest counts; at least one.
        autocast: The context in which it computes.
        packed: The rows of a micro-batch lie behind each other, and are not padded.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if packed:
        num_tokens = max(sum(row.length for row in part) for part in parts)
    else:
        num_tokens = max(len(part) * max(row.length for row in part) for part in parts)
    embedding: Tensor = model.llm.get_input_embeddings().weight
    vocabulary, width = embedding.shape
    element_size = embedding.element_size()
    config = model.llm.config.get_text_config()
    with autocast:
        few, many = (_kept(model, count) for count in _PROBED)
    a_token = (many - few) / (2 * (_PROBED[1] - _PROBED[0]))
    inner = getattr(config, "intermediate_size", _WIDER * width)
    return Memory(
        weights=_bytes(tensors)
        + scale_bytes(model)
        + largest_unpacked(model.llm, embedding.element_size()),
        trained=_TRAINED_BYTES * sum(p.numel() for p in model.parameters() if p.requires_grad),
        kept=round(num_tokens * a_token),
        layer=round(num_tokens * a_token / config.num_hidden_layers),
        inputs=num_tokens * width * element_size * config.num_hidden_layers,
        gradients=num_tokens * _MLP_GRADIENTS * inner * element_size,
        logits=max(_logits(part, element_size, packed=packed) for part in parts) * vocabulary,
    )


def _kept(model: SlideLanguageModel, length: int) -> int:
    """Count the bytes that autograd keeps of two rows of this length, weights left out."""
    embedding: Tensor = model.llm.get_input_embeddings().weight
    sees = any(
        p.requires_grad for part in (model.visual, model.projector) for p in part.parameters()
    )
    embeds = embedding.new_zeros(2, length, embedding.shape[1]).requires_grad_(sees)
    mask = torch.ones(2, length, dtype=torch.int64, device=embeds.device)
    mask[1, -1] = 0  # a mask without padding would be left out
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # itself, a node would hold its own output and never be freed

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, _as_it_is):
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        graph: Any = model.llm(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            logits_to_keep=1,
        )
    del graph  # until here it held what was kept, so that no place was given twice
    return sum(kept.values())


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _logits(rows: Sequence[Row], element_size: int, *, packed: bool) -> int:
    """Return the bytes of a micro-batch's logits for each word of the vocabulary.

    Logits are computed at every place where any of the rows learns, and kept where one does.
    """
    num_targets = sum(row.num_targets for row in rows)
    if packed:
        return (_LOGIT_BYTES + element_size) * num_targets
    learns = torch.zeros(max(row.length for row in rows), dtype=torch.bool)
    for row in rows:
        learns[: row.length] |= row.labels != IGNORED
    num_places = len(rows) * int(learns.sum())
    return max(_LOGIT_BYTES * num_targets, element_size * num_places + 8 * num_targets)


def _bytes(tensors: Sequence[Tensor | nn.Parameter]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
