"""From conversations to batches of tokens.

A row is a conversation about one slide, as tokens. Rows that cannot be learned from are left out,
counted and listed; none is cut to fit. Rows of about the same length share a batch, so that little
of it is padding.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tcssa import atomic
from tcssa.errors import (
    AmbiguousFeaturesError,
    DroppedRowsError,
    FeatureDimError,
    MissingFeaturesError,
    SplitError,
)
from tcssa.features import open_bag
from tcssa.features.tables import patient_of
from tcssa.vqa.conversation import Conversation
from tcssa.vqa.matching import SlideIndex
from tcssa.vqa.model import Batch
from tcssa.vqa.prompt import PromptBuilder

IGNORED = -100
"""The label of a token that is not learned."""
_POOL_BATCHES = 50


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

    Raises:
        FeatureFileError: A feature file cannot be read.
        FeatureDimError: Its features are not of this length.
    """
    found = _Slides(slides, feature_dim)
    rows: list[Row] = []
    dropped: list[Dropped] = []
    for conversation in conversations:
        try:
            rows.append(_row(conversation, prompts, found, num_tokens, max_length))
        except _NotUsableError as reason:
            kind, detail = reason.args
            dropped.append(
                Dropped(conversation.row_id, conversation.source, conversation.slide, kind, detail)
            )
    return rows, dropped


class _NotUsableError(Exception):
    """Why a row is left out: a kind, and a detail."""


class _Slides:
    """Feature files by the slide's name, each looked into once."""

    def __init__(self, index: SlideIndex, feature_dim: int) -> None:
        self._index, self._feature_dim = index, feature_dim
        self._num_patches: dict[Path, int] = {}

    def find(self, slide: str) -> tuple[Path, int]:
        """A slide's feature file, and its number of patches."""
        try:
            path = self._index.find(slide)
        except MissingFeaturesError as error:
            raise _NotUsableError("no features", str(error)) from None
        except AmbiguousFeaturesError as error:
            raise _NotUsableError("several feature files", str(error)) from None
        if path not in self._num_patches:
            with open_bag(path) as bag:
                if bag.num_patches and bag.feature_dim != self._feature_dim:
                    raise FeatureDimError(path, self._feature_dim, bag.feature_dim)
                self._num_patches[path] = bag.num_patches
        if not self._num_patches[path]:
            raise _NotUsableError("no patches", f"{path.name} holds no patch")
        return path, self._num_patches[path]


def _row(
    conversation: Conversation,
    prompts: PromptBuilder,
    slides: _Slides,
    num_tokens: Callable[[int], int],
    max_length: int,
) -> Row:
    path, num_patches = slides.find(conversation.slide)
    tokens = prompts.conversation_ids(conversation.turns, num_tokens(num_patches))
    if not tokens.num_supervised:
        raise _NotUsableError("nothing to learn", "no answer of the assistant holds a token")
    if len(tokens.input_ids) > max_length:
        detail = f"{len(tokens.input_ids)} tokens, --max-length is {max_length}"
        raise _NotUsableError("too long", detail)
    return Row(
        row_id=conversation.row_id,
        source=conversation.source,
        slide_id=path.stem,
        case_id=patient_of(path.stem),
        path=path,
        input_ids=torch.tensor(tokens.input_ids, dtype=torch.int32),
        labels=torch.tensor(tokens.labels, dtype=torch.int32),
        num_targets=tokens.num_supervised,
    )


def check_dropped(rows: Sequence[Row], dropped: Sequence[Dropped], max_dropped: float) -> None:
    """Refuse to train on what is left if too much was left out.

    Raises:
        DroppedRowsError: No row is left, or more than this share was left out.
    """
    total = len(rows) + len(dropped)
    if not rows or len(dropped) > max_dropped * total:
        raise DroppedRowsError(len(dropped), total, max_dropped, describe_dropped(dropped))


def count_dropped(dropped: Sequence[Dropped]) -> dict[str, int]:
    """How many rows were left out for each reason."""
    return dict(Counter(row.reason for row in dropped).most_common())


def describe_dropped(dropped: Sequence[Dropped]) -> str:
    """Each reason with its count and its first row."""
    first = {row.reason: row for row in reversed(dropped)}
    return "; ".join(
        f"{count} × {reason} (first: {first[reason].source}: {first[reason].detail})"
        for reason, count in count_dropped(dropped).items()
    )


def write_dropped(path: Path, dropped: Sequence[Dropped]) -> None:
    """Write ``skipped.csv``: a line a row that was left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row_id", "source", "slide", "reason", "detail"])
    for row in dropped:
        writer.writerow([row.row_id, row.source, row.slide, row.reason, row.detail])
    atomic.write_text(path, text.getvalue())


def split_by_case(
    rows: Sequence[Row], val_fraction: float, seed: int
) -> tuple[list[Row], list[Row]]:
    """Rows to train and to validate on, which share no slide and no patient.

    A patient's side follows from its name and the seed alone, so that both stages agree on it,
    whatever rows their files hold. Where chance picks no patient, the nearest one validates.

    Raises:
        SplitError: There is only one patient.
    """
    if not val_fraction:
        return list(rows), []
    draws = {row.case_id: _draw(f"{seed} {row.case_id}") for row in rows}
    held_out = {case for case, draw in draws.items() if draw < val_fraction}
    held_out = held_out or {min(draws, key=lambda case: draws[case])}
    if len(held_out) == len(draws):
        raise SplitError(
            f"all {len(draws)} patients would validate and none would train",
            hint="give more slides, --val-data, or --val-fraction 0 to validate on none",
        )
    train = [row for row in rows if row.case_id not in held_out]
    return train, [row for row in rows if row.case_id in held_out]


def require_apart(train: Sequence[Row], val: Sequence[Row]) -> None:
    """Check that no patient, and so no slide, stands on both sides.

    Raises:
        SplitError: One does; the first are named.
    """
    shared = sorted({row.case_id for row in train} & {row.case_id for row in val})
    if shared:
        raise SplitError(
            f"{len(shared)} patients stand in both --data and --val-data: {', '.join(shared[:5])}",
            hint="remove their rows from one of the files",
        )


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """The batches of one epoch: every row once, rows of about the same length together.

    Rows are shuffled, sorted by length within pools of fifty batches, cut into batches, and the
    batches shuffled. One batch of an epoch may be smaller than the others.
    """
    order = random.Random(f"{seed} {epoch}")
    indices = list(range(len(lengths)))
    order.shuffle(indices)
    pool = _POOL_BATCHES * batch_size
    batches = []
    for begin in range(0, len(indices), pool):
        pooled = sorted(indices[begin : begin + pool], key=lambda i: lengths[i])
        batches += [pooled[i : i + batch_size] for i in range(0, len(pooled), batch_size)]
    order.shuffle(batches)
    return batches


def collate(rows: Sequence[Row], visual: Callable[[Row], Tensor], pad_id: int) -> Batch:
    """Rows as one batch, padded on the right to the longest.

    Args:
        rows: At least one.
        visual: The slide's tokens, or its features, of a row.
        pad_id: Stands where a row has ended; never seen, never learned.
    """
    longest = max(row.length for row in rows)
    input_ids = torch.full((len(rows), longest), pad_id, dtype=torch.int64)
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.int64)
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for place, row in enumerate(rows):
        input_ids[place, : row.length] = row.input_ids
        labels[place, : row.length] = row.labels
        mask[place, : row.length] = 1
    return Batch(
        input_ids=input_ids,
        attention_mask=mask,
        labels=labels,
        visual=[visual(row) for row in rows],
        slide_ids=[row.slide_id for row in rows],
    )


def _draw(text: str) -> float:
    """A number in [0, 1) that follows from a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
