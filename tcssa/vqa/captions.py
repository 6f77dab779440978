"""How near written text comes to a reference: BLEU and ROUGE, through kept libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CaptionScores:
    """Scores of some texts; all from 0 to 1."""

    num_texts: int
    num_empty: int
    """Texts that are empty; they score 0."""
    bleu1: float
    bleu4: float
    rouge1: float
    rouge2: float
    rouge_l: float
    exact: float
    """Share of texts that are the reference but for case, spaces and a full stop."""


def score_captions(texts: Sequence[str], references: Sequence[str]) -> CaptionScores:
    """Score texts against one reference each."""
    raise NotImplementedError
