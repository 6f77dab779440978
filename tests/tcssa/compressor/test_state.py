"""The sums that a slide adds up to."""

import numpy as np
import pytest
import torch
from factories import make_compressor, make_features

from tcssa.compressor.state import SlotState
from tcssa.errors import ShapeError
from tcssa.moments import SlotMoments

K, D = 8, 3
CPU = torch.device("cpu")


def state(seed: int) -> SlotState:
    """Two patches in each slot but the last, which is empty."""
    rng = np.random.default_rng(seed)
    slots = np.repeat(np.arange(K - 1), 2)[:, None]
    weights = rng.uniform(0.1, 1, slots.shape).astype(np.float32)
    features = rng.standard_normal((len(slots), D)).astype(np.float32)
    dense = np.zeros((len(slots), K), np.float32)
    np.put_along_axis(dense, slots, weights, axis=1)
    return SlotState(
        torch.from_numpy(dense.T @ features),
        torch.from_numpy(dense.sum(axis=0)),
        len(slots),
        SlotMoments.of(slots, weights, rng.uniform(0, 9000, (len(slots), 2)), K, 0.5),
    )


def require_alike(found: SlotState, expected: SlotState) -> None:
    torch.testing.assert_close(found.weighted_sum, expected.weighted_sum)
    torch.testing.assert_close(found.mass, expected.mass)
    assert found.num_patches == expected.num_patches
    assert found.footprint is not None
    assert expected.footprint is not None
    np.testing.assert_allclose(found.footprint.vectors(), expected.footprint.vectors(), atol=1e-6)


def test_the_empty_state_changes_nothing_and_order_does_not_matter() -> None:
    first, second = state(1), state(2)
    require_alike(SlotState.empty(K, D, CPU).merge(first), first)
    require_alike(first.merge(SlotState.empty(K, D, CPU)), first)
    require_alike(first.merge(second), second.merge(first))
    assert first.merge(second).num_patches == 28


def test_an_empty_slot_has_its_centre_at_0_and_others_at_their_mean() -> None:
    found = state(3)
    centers = found.centers()
    assert centers[-1].tolist() == [0.0] * D
    for slot in range(K - 1):
        mean = found.weighted_sum[slot].double() / found.mass[slot].double()
        torch.testing.assert_close(centers[slot].double(), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lead", [40.0, 85.0, 95.0, 103.0])  # of the first slot's logit
def test_gradients_are_finite_where_a_slot_has_next_to_no_mass(lead: float) -> None:
    model, features = make_compressor(num_slots=3), 100 * make_features(5)
    with torch.no_grad():
        model.router.gate.weight.zero_()
        model.router.gate.bias.copy_(torch.tensor([lead, 0.0, -200.0]))
    output = model(features)
    assert 0 < output.mass[1] < 1e-16
    output.slots.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_slots_fold_into_their_number_modulo_the_budget_before_or_after_merging() -> None:
    first, second = state(4), state(5)
    folded = first.fold(4)
    assert folded.mass.tolist() == pytest.approx(
        [float(first.mass[j] + first.mass[j + 4]) for j in range(4)]
    )
    torch.testing.assert_close(folded.weighted_sum[1], first.weighted_sum[[1, 5]].sum(dim=0))
    require_alike(first.merge(second).fold(4), folded.merge(second.fold(4)))


def test_states_of_other_models_do_not_merge() -> None:
    with pytest.raises(ShapeError, match=r"\[8, 3\] with one of \[8, 4\]"):
        state(6).merge(SlotState.empty(K, 4, CPU))


def test_a_part_without_places_leaves_the_slide_without() -> None:
    placed = state(7)
    bare = SlotState(placed.weighted_sum, placed.mass, placed.num_patches)
    assert placed.merge(bare).footprint is None
    assert bare.merge(placed).footprint is None
    assert bare.fold(4).footprint is None
