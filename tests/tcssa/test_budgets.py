"""Fewer slots of the same sums."""

import numpy as np
import pytest
import torch
from factories import make_compressor, make_features, square
from hypothesis import given, settings
from hypothesis import strategies as st

from tcssa.budgets import budgets_of, choose_budget, fold, parse_budget, variance_between
from tcssa.compressor import CompressorConfig, SlotCompressor
from tcssa.errors import ShapeError, UsageError


def nested(num_slots: int = 8) -> SlotCompressor:
    return make_compressor(num_slots=num_slots, salience=True, nested=True)


@pytest.mark.parametrize(
    ("num_slots", "budgets"),
    [(32, [4, 8, 16, 32]), (24, [6, 12, 24]), (8, [4, 8]), (6, [6]), (7, [7]), (2, [2])],
)
def test_budgets_are_halves_down_to_four(num_slots: int, budgets: list[int]) -> None:
    assert budgets_of(num_slots) == budgets
    assert CompressorConfig(num_slots=num_slots, nested=True).budgets == budgets
    assert CompressorConfig(num_slots=num_slots).budgets == [num_slots]


def test_a_slot_folds_into_its_number_modulo_the_budget() -> None:
    values = np.arange(8.0)
    assert fold(values, 4).tolist() == [0 + 4, 1 + 5, 2 + 6, 3 + 7]
    assert fold(values, 8).tolist() == values.tolist()


def test_a_folded_slide_is_that_of_a_gate_whose_slots_are_one() -> None:
    """By definition: the weight of a folded slot is the sum of the weights of its parts."""
    model, features = nested(), make_features(40)
    output = model.compress([features], budget=4)
    assert output.slots.shape == (1, 4, 16)
    dense = model.router(features).dense_weights()
    weights = dense[:, :4] + dense[:, 4:]
    torch.testing.assert_close(output.mass[0], weights.sum(dim=0))
    centers = (weights.T @ features) / weights.sum(dim=0).unsqueeze(1)
    torch.testing.assert_close(output.slots[0], model.experts(centers.unsqueeze(0))[0])


def test_folded_slots_go_to_the_first_experts() -> None:
    model = nested()
    centers = make_features(8).unsqueeze(0)
    padded = torch.cat([centers[:, :4], torch.zeros(1, 4, 16)], dim=1)
    torch.testing.assert_close(model.experts(centers[:, :4]), model.experts(padded)[:, :4])


@settings(max_examples=20)
@given(split=st.integers(0, 30), budget=st.sampled_from([4, 8, 16]))
def test_folding_and_merging_are_in_any_order(split: int, budget: int) -> None:
    model, features, coords = nested(16), make_features(30), square(30)
    parts = [
        model.update(model.start(), features[rows], coords[rows])
        for rows in (slice(split), slice(split, None))
    ]
    folded_last = parts[0].merge(parts[1]).fold(budget)
    folded_first = parts[0].fold(budget).merge(parts[1].fold(budget))
    torch.testing.assert_close(folded_last.weighted_sum, folded_first.weighted_sum)
    torch.testing.assert_close(folded_last.mass, folded_first.mass)
    assert folded_last.footprint is not None
    assert folded_first.footprint is not None
    np.testing.assert_allclose(
        folded_last.footprint.centroids(), folded_first.footprint.centroids()
    )
    assert folded_last.num_patches == 30


def test_a_budget_that_the_model_has_not_is_refused() -> None:
    features = make_features(5)
    with pytest.raises(ShapeError, match="gives 4, 8 slots, not 5"):
        nested().compress([features], budget=5)
    with pytest.raises(ShapeError, match="gives 8 slots, not 4"):
        make_compressor(num_slots=8).compress([features], budget=4)


def test_an_automatic_budget_keeps_what_tells_slots_apart() -> None:
    """Slots of two kinds in pairs that fold into one another: half of them say all."""
    rng = np.random.default_rng(0)
    four = rng.standard_normal((4, 6))
    mass = np.ones(8)
    alike = np.concatenate([four, four])
    assert variance_between(fold(alike, 4), fold(mass, 4)) == pytest.approx(
        variance_between(alike, mass)
    )
    assert choose_budget(alike, mass, 0.999) == 4
    unlike = np.concatenate([four, -four])  # the halves of each pair cancel out
    assert choose_budget(unlike, mass, 0.5) == 8
    assert choose_budget(unlike, mass, 1e-9) == 8


def test_a_slide_whose_slots_do_not_differ_takes_the_smallest_budget() -> None:
    mass = np.array([3.0] + [0.0] * 15)
    sums = np.zeros((16, 4))
    sums[0] = 1.0
    assert variance_between(sums, mass) == 0
    assert choose_budget(sums, mass, 1.0) == 4
    assert choose_budget(np.zeros((16, 4)), np.zeros(16), 1.0) == 4


def test_a_budget_is_a_number_or_auto() -> None:
    assert (parse_budget("8"), parse_budget("auto"), parse_budget(None)) == (8, "auto", None)
    for text in ("", "-4", "4.0", "all", "٤"):
        with pytest.raises(UsageError, match="a number of slots or auto"):
            parse_budget(text)
