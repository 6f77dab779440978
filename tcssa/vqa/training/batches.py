"""From rows to batches.

Rows of about the same length share a batch, so that little of it is padding. A patient's rows stand
on one side of a split.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tcssa.errors import SplitError
from tcssa.vqa.model.model import Batch
from tcssa.vqa.prompts.prompt import IGNORED
from tcssa.vqa.training.rows import Row

_POOL_BATCHES = 50


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


def collate(
    rows: Sequence[Row], visual: Callable[[Row], Tensor], pad_id: int, *, encoded: bool = False
) -> Batch:
    """Rows as one batch, padded on the right to the longest.

    Args:
        rows: At least one.
        visual: The slide's tokens, or its features, of a row.
        pad_id: Stands where a row has ended; never seen, never learned.
        encoded: Whether ``visual`` gives tokens.
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
        encoded=encoded,
    )


def _draw(text: str) -> float:
    """A number in [0, 1) that follows from a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
