"""Training for fewer slots too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import small_run, write_cohort

from tcssa.compressor import load_compressor, open_checkpoint
from tcssa.compressor.prototypes import in_tree_order
from tcssa.errors import UsageError
from tcssa.mil.bag_store import BagStore
from tcssa.mil.cohort import read_cohort
from tcssa.mil.fit import FoldFit
from tcssa.mil.nested import SHARES, choose_share
from tcssa.mil.settings import MilSettings, ModelSettings
from tcssa.mil.splits import Fold
from tcssa.mil.train import train
from tcssa.reporter import Silent
from tcssa.settings import resolve


def nested_run(folder: Path, **train_settings: object) -> MilSettings:
    settings = small_run(write_cohort(folder), **train_settings)
    model = ModelSettings(num_slots=8, hidden_dim=8, head_dim=8, nested=True)
    return settings.model_copy(update={"model": model})


def fit_of(folder: Path) -> FoldFit:
    settings = nested_run(folder, epochs=3)
    cohort = read_cohort(settings.cohort)
    fold = Fold(cohort.slides[:10], cohort.slides[10:14], cohort.slides[14:])
    return FoldFit(cohort, fold, 0, settings, folder, BagStore(10**9))


@pytest.mark.parametrize("num_slots", [32, 24, 6, 7])
def test_what_folds_into_one_slot_lies_close_together(num_slots: int) -> None:
    rng = np.random.default_rng(0)
    prototypes = rng.standard_normal((num_slots, 3)).astype(np.float32)
    ordered = in_tree_order(prototypes)
    assert sorted(map(tuple, ordered)) == sorted(map(tuple, prototypes))

    def scatter(rows: np.ndarray, budget: int) -> float:
        return sum(float(rows[j::budget].var(axis=0).sum()) for j in range(budget))

    for budget in [num_slots // 2, num_slots // 4]:
        if num_slots % budget == 0 and num_slots > 7:
            assert scatter(ordered, budget) < 0.8 * scatter(prototypes, budget)


def test_every_step_draws_a_budget_and_the_same_in_a_run_that_is_taken_up(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        fit = fit_of(tmp_path)
        assert fit.nested is not None
        seen: list[int | None] = []
        fit.model.register_forward_pre_hook(lambda model, _, seen=seen: seen.append(model.budget))
        fit._train_epoch(0)
        drawn.append(seen)
    assert drawn[0] == drawn[1]
    steps, validation = drawn[0][:5], drawn[0][5:]  # 10 slides in batches of 2
    assert set(steps) == {4, 8}
    assert set(validation) == {None}


def test_a_nested_run_can_be_folded_and_says_what_auto_keeps(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(nested_run(tmp_path, epochs=3), out, Silent())
    loaded = open_checkpoint(out)
    assert loaded.model.config.nested
    assert loaded.model.config.auto_share in SHARES
    features = torch.randn(20, loaded.model.config.feature_dim)
    assert load_compressor(out).compress([features], budget=4).slots.shape[1] == 4


def test_the_share_is_the_smallest_that_costs_no_validation_loss(tmp_path: Path) -> None:
    fit = fit_of(tmp_path)
    assert fit.nested is not None
    torch.nn.init.zeros_(fit.nested.head.out.weight)  # no budget matters to such a head
    assert choose_share(fit.nested, fit.fold.val, fit.store) == SHARES[0]


def test_what_cannot_be_folded_is_refused() -> None:
    for flags, reason in (
        ({"pool": "mean"}, "pooled by mass, not by mean"),
        ({"num_slots": 6}, "6 slots cannot be halved"),
    ):
        with pytest.raises(UsageError, match=reason):
            resolve(MilSettings, flags={"model": {"nested": True, **flags}})
