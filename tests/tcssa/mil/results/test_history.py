"""The history of a training, in tables and in words."""

import csv
from pathlib import Path

import pytest
import torch

from tcssa.compressor.balance import RoutingSums
from tcssa.mil.results.history import Epoch, SlotUse, write_history

EVEN = RoutingSums(torch.full((4,), 5.0), torch.full((4,), 10.0), torch.tensor(0.0), 20)
PAIR = torch.tensor([10.0, 10.0, 0.0, 0.0])
ONE_PAIR = RoutingSums(PAIR, 2 * PAIR, torch.tensor(0.0), 20)


def test_even_use_is_no_collapse_and_one_pair_of_slots_is() -> None:
    even, pair = (SlotUse.of(routing, 0.0) for routing in (EVEN, ONE_PAIR))
    assert even.effective_slots == pytest.approx(4)
    assert even.collapse(top_k=1) is None
    assert (pair.effective_slots, pair.unused_slots) == (pytest.approx(2), 2)
    assert pair.largest_share == pytest.approx(0.5)
    assert "2.0 of 8 slots" in str(
        SlotUse(**{**pair.model_dump(), "utilisation": [0.5, 0.5] + [0.0] * 6}).collapse(top_k=2)
    )


def test_few_slots_count_as_collapsed_only_below_half_of_them() -> None:
    assert SlotUse.of(ONE_PAIR, 0.0).collapse(top_k=2) is None


def test_scores_stand_each_on_its_own_and_are_read_back() -> None:
    epoch = Epoch(epoch=1, train_loss=0.5, val_loss=0.4, val_scores={"auc": 0.9, "accuracy": None})
    row = epoch.model_dump()
    assert (row["val_auc"], row["val_accuracy"]) == (0.9, None)
    assert "val_scores" not in row
    assert Epoch.model_validate(row) == epoch


def test_a_method_with_slots_leaves_a_table_of_them(tmp_path: Path) -> None:
    use = SlotUse.of(EVEN, 0.25)
    scores = {"train_loss": 0.5, "val_loss": 0.4, "val_scores": {"auc": 0.9}}
    write_history(tmp_path, [Epoch(epoch=i, slots=use, **scores) for i in range(2)])
    history, slots = (
        list(csv.DictReader((tmp_path / name).read_text(encoding="utf-8").splitlines()))
        for name in ("history.csv", "utilisation.csv")
    )
    assert [row["aux_excess"] for row in history] == ["0.25", "0.25"]
    assert slots[1] == {"epoch": "1", **{f"slot_{k}": "0.25" for k in range(4)}}
    write_history(tmp_path / "plain", [Epoch(epoch=0, **scores)])
    assert not (tmp_path / "plain" / "utilisation.csv").exists()
