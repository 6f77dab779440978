"""Scores of written text against a reference: BLEU (sacrebleu) and ROUGE (rouge-score).

BLEU is taken over the corpus, in lower case, tokenised as sacrebleu does by default (13a); ROUGE is
the mean F-measure, without stemming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from tcssa.errors import UsageError
from tcssa.vqa.conversation import same_words


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
    """Share of texts that equal the reference up to case, spaces and a full stop."""


def score_captions(texts: Sequence[str], references: Sequence[str]) -> CaptionScores:
    """Score texts against one reference each.

    Args:
        texts: At least one.
        references: The reference of each text, in the same order.

    Raises:
        UsageError: There is no text, or the numbers of texts and references differ.
    """
    if len(texts) != len(references):
        raise UsageError(f"{len(texts)} texts and {len(references)} references do not go together")
    if not texts:
        raise UsageError("there is no text to score")
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import BLEU

    def bleu(order: int) -> float:
        metric = BLEU(max_ngram_order=order, lowercase=True, effective_order=False)
        return float(metric.corpus_score(list(texts), [list(references)]).score) / 100

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    rouge = [scorer.score(ref, text) for text, ref in zip(texts, references, strict=True)]
    return CaptionScores(
        num_texts=len(texts),
        num_empty=sum(not text.strip() for text in texts),
        bleu1=bleu(1),
        bleu4=bleu(4),
        rouge1=mean(scores["rouge1"].fmeasure for scores in rouge),
        rouge2=mean(scores["rouge2"].fmeasure for scores in rouge),
        rouge_l=mean(scores["rougeL"].fmeasure for scores in rouge),
        exact=mean(
            float(same_words(text) == same_words(ref))
            for text, ref in zip(texts, references, strict=True)
        ),
    )
