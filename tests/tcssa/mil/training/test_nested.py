"""Training for fewer slots too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import small_run, write_cohort

from tcssa.budgets import budgets_of
from tcssa.compressor import load_compressor, open_checkpoint
from tcssa.compressor.prototypes import in_tree_order
from tcssa.config.settings import resolve
from tcssa.errors import UsageError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.cohort.splits import Fold
from tcssa.mil.settings import MilSettings, ModelSettings
from tcssa.mil.training.fit import FoldFit
from tcssa.mil.training.nested import SHARES, choose_share
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


def nested_run(folder: Path, **train_settings: object) -> MilSettings:
    settings = small_run(write_cohort(folder), **train_settings)
    model = ModelSettings(num_slots=8, hidden_dim=8, head_dim=8, nested=True)
    return settings.model_copy(update={"model": model})


def fit_of(folder: Path) -> FoldFit:
    settings = nested_run(folder, epochs=3)
    cohort = read_cohort(settings.cohort)
    fold = Fold(cohort.slides[:10], cohort.slides[10:14], cohort.slides[14:])
    return FoldFit(cohort, fold, 0, settings, folder, BagStore(10**9))


@pytest.mark.parametrize("num_slots", [32, 24, 20, 12, 8])
def test_heaps_of_prototypes_fold_into_slots_of_their_own(num_slots: int) -> None:
    """As many heaps as a budget has slots, on a line: each folds into one slot."""
    rng = np.random.default_rng(0)
    for budget in budgets_of(num_slots)[:-1]:
        heaps = np.repeat(np.arange(budget) * 100.0, num_slots // budget)
        prototypes = rng.permutation(heaps[:, None] + rng.standard_normal((num_slots, 3)))
        ordered = in_tree_order(prototypes.astype(np.float32))
        assert sorted(map(tuple, ordered)) == sorted(map(tuple, prototypes.astype(np.float32)))
        found = [set(np.rint(ordered[j::budget, 0] / 100)) for j in range(budget)]
        assert all(len(of_slot) == 1 for of_slot in found)
        assert len(set.union(*found)) == budget


@pytest.mark.parametrize("num_slots", [2, 6, 7])
def test_prototypes_that_cannot_be_halved_stay_the_same_ones(num_slots: int) -> None:
    prototypes = np.random.default_rng(0).standard_normal((num_slots, 3)).astype(np.float32)
    assert sorted(map(tuple, in_tree_order(prototypes))) == sorted(map(tuple, prototypes))


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
    head = fit.nested.head
    torch.nn.init.zeros_(head.out.weight)  # no budget matters to such a head
    assert choose_share(fit.nested, fit.fold.val, fit.store) == SHARES[0]

    def right_where_all_slots_are_there(slots: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
        label = next(labels)
        sure = 5.0 if slots.shape[1] == 8 else 0.0
        return torch.tensor([[sure, 0.0] if label == 0 else [0.0, sure]])

    # each slide is classified with 4 and with 8 slots
    labels = iter(slide.label for slide in fit.fold.val for _ in range(2))
    head.forward = right_where_all_slots_are_there  # type: ignore[method-assign]
    share = choose_share(fit.nested, fit.fold.val, fit.store)
    assert share > SHARES[0]


def test_what_cannot_be_folded_is_refused() -> None:
    for flags, reason in (
        ({"pool": "mean"}, "pooled by mass, not by mean"),
        ({"num_slots": 6}, "6 slots cannot be halved"),
    ):
        with pytest.raises(UsageError, match=reason):
            resolve(MilSettings, flags={"model": {"nested": True, **flags}})
