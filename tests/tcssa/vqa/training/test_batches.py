"""Batches: every row once, little padding, patients on one side."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tcssa.errors import SplitError
from tcssa.reporter import Silent
from tcssa.vqa.training.batches import (
    collate,
    epoch_batches,
    require_apart,
    split_by_case,
    warn_of_links,
)
from tcssa.vqa.training.rows import Row


def make_row(slide_id: str = "s", length: int = 3, case_id: str | None = None) -> Row:
    """A row whose last token is learned."""
    ids = torch.arange(1, length + 1, dtype=torch.int32)
    labels = torch.full_like(ids, -100)
    labels[-1] = ids[-1]
    return Row(
        row_id=slide_id, source="f.json, row 0", slide_id=slide_id, case_ids=(case_id or slide_id,),
        parts=((Path(f"{slide_id}.h5"),),), input_ids=ids, labels=labels, num_targets=1,
        features_hashes={},
    )  # fmt: skip


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=300), st.integers(1, 20), st.integers(0, 5)
)
def test_an_epoch_has_every_row_once_and_at_most_one_small_batch(
    lengths: list[int], batch_size: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, batch_size, seed=0, epoch=epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert sum(len(batch) < batch_size for batch in batches) <= 1


def test_batches_hold_rows_of_like_length_and_come_in_any_order() -> None:
    lengths = list(range(1000, 0, -1))
    batches = epoch_batches(lengths, 8, seed=0, epoch=0)
    spans = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert max(spans) < 100  # a random batch of eight spans about 780
    firsts = [lengths[batch[0]] for batch in batches]
    assert firsts != sorted(firsts)
    assert firsts != sorted(firsts, reverse=True)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    lengths = [1] * 64
    first = epoch_batches(lengths, 8, seed=0, epoch=0)
    assert first == epoch_batches(lengths, 8, seed=0, epoch=0)
    assert first != epoch_batches(lengths, 8, seed=0, epoch=1)
    assert first != epoch_batches(lengths, 8, seed=1, epoch=0)


def test_padding_is_neither_seen_nor_learned() -> None:
    rows = [make_row("a", 2), make_row("b", 5)]
    batch = collate(rows, lambda row: torch.zeros(1, 4), pad_id=77)
    assert batch.input_ids.tolist() == [[1, 2, 77, 77, 77], [1, 2, 3, 4, 5]]
    assert batch.attention_mask.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.labels.tolist() == [[-100, 2, -100, -100, -100], [-100] * 4 + [5]]
    assert batch.slide_ids == ["a", "b"]


def test_a_patient_stands_on_one_side_whatever_else_is_there() -> None:
    rows = [make_row(f"s{i}", case_id=f"p{i // 2}") for i in range(200)]
    train, val = split_by_case(rows, 0.2, seed=3)
    assert len(train) + len(val) == 200
    sides = [{row.case_ids[0] for row in side} for side in (train, val)]
    assert not sides[0] & sides[1]
    assert 20 <= len(val) <= 60
    # stage 2 has other rows of these patients, and must not train on who chose stage 1
    some = [row for row in rows if row.case_ids[0] not in {"p3", "p4"}]
    assert {row.slide_id for row in split_by_case(some, 0.2, seed=3)[1]} <= {
        row.slide_id for row in val
    }
    assert split_by_case(rows, 0.2, seed=4)[1] != val


def test_a_small_cohort_validates_on_someone_and_one_patient_is_too_few() -> None:
    rows = [make_row(f"s{i}") for i in range(3)]
    assert len(split_by_case(rows, 0.01, seed=0)[1]) == 1
    assert split_by_case(rows, 0.0, seed=0) == (rows, [])
    with pytest.raises(SplitError, match="all 1 patients would validate"):
        split_by_case(rows[:1], 0.5, seed=0)


def test_a_patient_in_both_files_is_refused() -> None:
    with pytest.raises(SplitError, match="1 patient in both --data and --val-data: p1"):
        require_apart([make_row("a", case_id="p1")], [make_row("b", case_id="p1")])


def test_patients_that_a_row_shows_together_are_on_one_side() -> None:
    alone = [make_row(f"s{i}", case_id=f"p{i:03d}") for i in range(100)]
    pairs = [
        replace(make_row(f"t{i}"), case_ids=(f"p{i + 1:03d}", f"p{i:03d}"))
        for i in range(0, 100, 2)
    ]
    train, val = split_by_case([*alone, *pairs], 0.3, seed=1)
    sides = [{case for row in side for case in row.case_ids} for side in (train, val)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 100
    assert 10 < len(sides[1]) < 60
    first = {f"p{i:03d}" for i in range(0, 100, 2)}
    draws = {row.case_ids[0] for row in split_by_case(alone, 0.3, seed=1)[1]}
    assert sides[1] & first == draws & first  # the first decides for both
    with pytest.raises(SplitError, match="1 patient in both"):
        require_apart(pairs[:1], [make_row("a", case_id="p001")])


def test_linked_patients_that_change_the_share_of_validation_are_told() -> None:
    alone = [make_row(f"s{i}", case_id=f"p{i:03d}") for i in range(100)]
    chain = [replace(make_row(f"t{i}"), case_ids=(f"p{i:03d}", f"p{i + 1:03d}")) for i in range(99)]
    reporter = Silent()
    pair = [*alone, *chain[:1]]
    for rows in (alone, pair):
        warn_of_links(*split_by_case(rows, 0.2, seed=1), 0.2, 1, reporter)  # 8 %, by chance
    few = split_by_case(alone[:3], 0.01, seed=0)
    warn_of_links(*few, 0.01, 0, reporter)  # a third of the rows, but no patients are linked
    warn_of_links(*split_by_case(pair, 0.0, seed=1), 0.0, 1, reporter)
    assert reporter.warnings == []
    linked = [*alone, *chain[:90]]
    warn_of_links(*split_by_case(linked, 0.2, seed=1), 0.2, 1, reporter)
    assert "rows show patients together, 100 patients in 10 groups" in reporter.warnings[0]
    with pytest.raises(SplitError, match="all 100 patients, 1 group that rows show together,"):
        split_by_case([*alone, *chain], 0.2, seed=1)
