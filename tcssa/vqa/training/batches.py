"""Batches of rows, and the split into training and validation.

Rows of about the same length share a batch, so that little of it is padding. All rows of a patient
are on one side of a split.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tcssa.errors import SplitError, counted
from tcssa.reporter import Reporter
from tcssa.training import seeded_number
from tcssa.vqa.model.model import Batch
from tcssa.vqa.prompts.prompt import IGNORED
from tcssa.vqa.training.rows import Row

_POOL_BATCHES = 50


def split_by_case(
    rows: Sequence[Row], val_fraction: float, seed: int
) -> tuple[list[Row], list[Row]]:
    """Split rows into those to train and those to validate on, which share no slide or patient.

    A patient's side follows from its name and the seed alone, so that both stages agree on it,
    whatever rows their files hold. Where chance picks no patient, the nearest one validates.
    Patients whose slides a row shows together are on the side of the first of them by name.

    Args:
        rows: The rows to split.
        val_fraction: Share of the patients to validate on, 0 to below 1; 0 validates on none.
        seed: Seed of the split.

    Raises:
        SplitError: All patients would validate, as when there is only one.
    """
    if not val_fraction:
        return list(rows), []
    first = _first_of_linked(rows)
    draws = {case: _draw(case, seed) for case in sorted(set(first.values()))}
    held_out = {case for case, draw in draws.items() if draw < val_fraction}
    held_out = held_out or {min(draws, key=lambda case: draws[case])}
    if len(held_out) == len(draws):
        linked = len(draws) < len(first)
        groups = f", {counted(len(draws), 'group')} that rows show together," if linked else ""
        raise SplitError(
            f"all {len(first)} patients{groups} would validate and none would train",
            hint="give more slides, --val-data, or --val-fraction 0 to validate on none",
        )
    train = [row for row in rows if first[row.case_ids[0]] not in held_out]
    return train, [row for row in rows if first[row.case_ids[0]] in held_out]


def warn_of_links(
    train: Sequence[Row], val: Sequence[Row], val_fraction: float, seed: int, reporter: Reporter
) -> None:
    """Warn where patients that rows show together leave another share to validate on than asked.

    Args:
        train: Rows to train on.
        val: Rows to validate on.
        val_fraction: The share that was asked for.
        seed: Seed of the split.
        reporter: Warned if the share is more than twice or less than half of it, and of what it
            were by the first patient of each row alone.
    """
    rows = [*train, *val]
    first = _first_of_linked(rows)
    num_groups = len(set(first.values()))
    if num_groups == len(first):
        return
    share = len(val) / len(rows)
    alone = sum(_draw(row.case_ids[0], seed) < val_fraction for row in rows) / len(rows)
    if not any(wanted / 2 <= share <= 2 * wanted for wanted in (val_fraction, alone)):
        reporter.warn(
            f"{share:.0%} of the rows validate, --val-fraction is {val_fraction:g}: rows show "
            f"patients together, {len(first)} patients in {counted(num_groups, 'group')}, and a "
            "group is on one side; --val-data says who validates"
        )


def _draw(case: str, seed: int) -> float:
    """Return the number in [0, 1) that says a patient's side."""
    return seeded_number(seed, case) / 2**64


def _first_of_linked(rows: Sequence[Row]) -> dict[str, str]:
    """Return the first by name of the patients that each one is linked with by rows."""
    first: dict[str, str] = {}

    def of(case: str) -> str:
        while first[case] != case:
            case = first[case]
        return case

    for row in rows:
        for case in row.case_ids:
            first.setdefault(case, case)
        found = {of(case) for case in row.case_ids}
        for case in found:
            first[case] = min(found)
    return {case: of(case) for case in first}


def require_apart(train: Sequence[Row], val: Sequence[Row]) -> None:
    """Check that no patient, and so no slide, is on both sides.

    Args:
        train: Rows to train on.
        val: Rows to validate on.

    Raises:
        SplitError: A patient has rows on both sides; the first such patients are named.
    """
    sides = [{case for row in rows for case in row.case_ids} for rows in (train, val)]
    shared = sorted(sides[0] & sides[1])
    if shared:
        raise SplitError(
            f"{counted(len(shared), 'patient')} in both --data and --val-data: "
            f"{', '.join(shared[:5])}",
            hint="remove their rows from one of the files",
        )


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Draw the batches of one epoch: every row once, rows of about the same length together.

    Rows are shuffled, sorted by length within pools of fifty batches, cut into batches, and the
    batches shuffled. One batch of an epoch may be smaller than the others.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows of a batch.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.

    Returns:
        The indices of each batch's rows.
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
    """Combine rows into one batch, padded on the right to the longest.

    Args:
        rows: At least one.
        visual: Gives the visual tokens [V, D], or patch features [N, D], of a row's slides.
        pad_id: The token to pad with; it is masked, and never learned.
        encoded: True if ``visual`` gives tokens.
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
        slides=None if encoded else [list(row.spans) for row in rows],
        encoded=encoded,
    )
