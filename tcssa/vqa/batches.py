"""From conversations to batches of tokens.

A row is a conversation about one slide, as tokens. Rows that cannot be learned from are left out,
counted and listed; none is cut to fit. Rows of about the same length share a batch, so that little
of it is padding.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tcssa import atomic
from tcssa.vqa.conversation import Conversation
from tcssa.vqa.matching import SlideIndex
from tcssa.vqa.model import Batch
from tcssa.vqa.prompt import PromptBuilder


@dataclass(frozen=True)
class Row:
    """One conversation, ready for the model."""

    row_id: str
    source: str
    """Where it stands: file and row."""
    slide_id: str
    case_id: str
    path: Path
    """Feature file of the slide."""
    input_ids: Tensor
    """[L], int32; the slide's tokens are placeholders."""
    labels: Tensor
    """[L], int32; -100 where nothing is to be learned."""
    num_targets: int

    @property
    def length(self) -> int:
        """L."""
        return len(self.input_ids)


@dataclass(frozen=True)
class Dropped:
    """A row that was left out, and why."""

    row_id: str
    source: str
    slide: str
    reason: str
    """A few words that are the same for all rows of this kind."""
    detail: str


def prepare_rows(
    conversations: Sequence[Conversation],
    prompts: PromptBuilder,
    slides: SlideIndex,
    num_tokens: Callable[[int], int],
    feature_dim: int,
    max_length: int,
) -> tuple[list[Row], list[Dropped]]:
    """Find every conversation's slide and turn it into tokens.

    Args:
        conversations: Of one file.
        prompts: Builds the tokens.
        slides: Finds feature files.
        num_tokens: How many visual tokens a slide of N patches becomes.
        feature_dim: D that the features must have.
        max_length: Rows of more tokens are left out.
    """
    raise NotImplementedError


def check_dropped(rows: Sequence[Row], dropped: Sequence[Dropped], max_dropped: float) -> None:
    """Refuse to train on what is left if too much was left out.

    Raises:
        DroppedRowsError: No row is left, or more than this share was left out.
    """
    raise NotImplementedError


def write_dropped(path: Path, dropped: Sequence[Dropped]) -> None:
    """Write ``skipped.csv``: a line a row that was left out."""
    raise NotImplementedError


def split_by_case(
    rows: Sequence[Row], val_fraction: float, seed: int
) -> tuple[list[Row], list[Row]]:
    """Rows to train and to validate on, which share no slide and no patient.

    A patient's side follows from its name and the seed alone, so that both stages and every
    later file agree on it.
    """
    raise NotImplementedError


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """The batches of one epoch: every row once, rows of about the same length together."""
    raise NotImplementedError


def collate(rows: Sequence[Row], visual: Callable[[Row], Tensor], pad_id: int) -> Batch:
    """Rows as one batch, padded on the right to the longest."""
    raise NotImplementedError
