"""Use and likeness of slots whose patches were counted out by hand."""

import numpy as np
import pytest
import torch
from slot_runs import patches_of, planted_model, slide_of

from tcssa.mil.slots.routed import route
from tcssa.mil.slots.utilisation import cosine_of, use_of

COUNTS = [[3, 5, 2, 0], [6, 0, 4, 0]]


def test_use_is_what_was_dealt_out() -> None:
    model = planted_model()
    slides = [
        route(model, torch.from_numpy(patches_of(counts)), slide_of(str(i)), 1)
        for i, counts in enumerate(COUNTS)
    ]
    use = use_of(slides)
    np.testing.assert_allclose(use.first_share, [9 / 20, 5 / 20, 6 / 20, 0])
    np.testing.assert_allclose(use.mass_share, [9 / 20, 5 / 20, 6 / 20, 0], rtol=1e-6)
    np.testing.assert_allclose(use.slide_share, [1, 0.5, 1, 0])
    assert use.dead == [3]
    assert use.by_mass == [0, 2, 1, 3]
    assert use.largest_share == 9 / 20
    assert use.empty_per_slide == 1.5
    share = np.array([9, 5, 6]) / 20
    assert use.effective_slots == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    # the gate's logits are 6 for the patch's own slot and 0 for three others
    first = np.exp(6) / (np.exp(6) + 3)
    other = 1 / (np.exp(6) + 3)
    assert use.first_weight == pytest.approx(first, rel=1e-5)
    entropy = -(first * np.log(first) + 3 * other * np.log(other)) / np.log(4)
    assert use.entropy == pytest.approx(entropy, rel=1e-4)


def test_with_two_slots_a_patch_each_counts_in_both() -> None:
    slides = [
        route(planted_model(top_k=2), torch.from_numpy(patches_of(COUNTS[0])), slide_of("s"), 0)
    ]
    use = use_of(slides)
    assert use.any_share.sum() == pytest.approx(2)
    assert use.first_share.sum() == pytest.approx(1)
    assert use.largest_share <= 0.5


def test_cosine_is_over_slides_where_both_slots_hold_patches() -> None:
    model = planted_model()
    bags = [torch.from_numpy(patches_of(counts, seed)) for seed, counts in enumerate(COUNTS)]
    cosine = cosine_of([route(model, bag, slide_of(str(i)), 0) for i, bag in enumerate(bags)])
    with torch.no_grad():
        tokens = model.compressor.compress(bags).slots.numpy()
    unit = tokens / np.linalg.norm(tokens, axis=2, keepdims=True)
    both = np.einsum("sad,sbd->sab", unit, unit)
    assert cosine.mean[0, 2] == pytest.approx(both[:, 0, 2].mean(), rel=1e-5)
    assert cosine.mean[0, 1] == pytest.approx(both[0, 0, 1], rel=1e-5)
    assert cosine.num_slides.tolist() == [[2, 1, 2, 0], [1, 1, 1, 0], [2, 1, 2, 0], [0] * 4]
    assert np.isnan(cosine.mean[3]).all()
    assert cosine.between == pytest.approx(
        np.mean([cosine.mean[0, 1], cosine.mean[0, 2], cosine.mean[1, 2]])
    )
