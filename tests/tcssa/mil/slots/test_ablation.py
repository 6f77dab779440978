"""Emptying a slot equals taking its patches away."""

import numpy as np
import pytest
import torch
from slot_runs import NUM_SLOTS, patches_of, planted_model, slide_of

from tcssa.mil.classifier.slot_pool import PoolName
from tcssa.mil.slots.ablation import ablation_of, log_odds
from tcssa.mil.slots.routed import route

COUNTS = [3, 5, 2, 0]
POOLS: list[PoolName] = ["mean", "mass", "attention", "max"]


@pytest.mark.parametrize("pool", POOLS)
def test_with_one_slot_a_patch_it_equals_the_slide_without_the_slots_patches(
    pool: PoolName,
) -> None:
    model = planted_model(pool)
    features = torch.from_numpy(patches_of(COUNTS))
    routed = route(model, features, slide_of("s"), 0)
    np.testing.assert_array_equal(np.bincount(routed.first, minlength=NUM_SLOTS), COUNTS)
    for slot in range(NUM_SLOTS):
        kept = features[torch.from_numpy(routed.first != slot)]
        with torch.no_grad():
            again = model([kept]).logits[0].double().numpy()
        np.testing.assert_allclose(routed.emptied[slot], again, rtol=1e-5, atol=1e-6)
    assert np.abs(routed.emptied[0] - routed.logits).max() > 1e-3


@pytest.mark.parametrize("pool", POOLS)
def test_emptying_an_empty_slot_changes_nothing(pool: PoolName) -> None:
    routed = route(planted_model(pool), torch.from_numpy(patches_of(COUNTS)), slide_of("s"), 0)
    np.testing.assert_allclose(routed.emptied[3], routed.logits, rtol=1e-6, atol=1e-7)


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(log_odds(logits), np.log(probs / (1 - probs)))
    np.testing.assert_allclose(log_odds(logits + 7), log_odds(logits))


def test_the_sum_is_over_slides_that_have_the_slot() -> None:
    model = planted_model()
    slides = [
        route(model, torch.from_numpy(patches_of(counts, seed)), slide_of(str(seed), seed % 2), 4)
        for seed, counts in enumerate([[3, 5, 2, 0], [3, 0, 2, 0], [1, 4, 0, 0]])
    ]
    rows = ablation_of(slides)
    assert [row.num_slides for row in rows] == [3, 2, 2, 0]
    assert {row.fold for row in rows} == {4}
    assert rows[3].true_mean is rows[3].true_sd is rows[3].predicted_mean is None
    changes = [
        log_odds(s.emptied[1])[s.slide.label] - log_odds(s.logits)[s.slide.label]
        for s in (slides[0], slides[2])
    ]
    assert rows[1].true_mean == pytest.approx(np.mean(changes))
    assert rows[1].true_sd == pytest.approx(np.std(changes, ddof=1))
