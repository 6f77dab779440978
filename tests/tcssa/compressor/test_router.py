"""The gate: where patches go, and with what weight."""

import numpy as np
import pytest
import torch
from factories import make_features
from scipy.special import logsumexp, softmax

from tcssa.compressor.router import Router
from tcssa.errors import NonFiniteFeatureError


def make_router(num_slots: int = 5, top_k: int = 2, *, has_salience: bool = False) -> Router:
    torch.manual_seed(0)
    return Router(16, num_slots, top_k, noise_std=0.5, has_salience=has_salience).eval()


@torch.no_grad()
def test_a_tie_goes_to_the_lower_slot() -> None:
    router = make_router(num_slots=6, top_k=4)
    router.gate.weight.zero_()
    router.gate.bias.copy_(torch.tensor([0.0, 2.0, 1.0, 2.0, 1.0, 1.0]))
    assert router(make_features(3)).indices_NT.tolist() == [[1, 3, 2, 4]] * 3


@torch.no_grad()
def test_weights_are_the_largest_probabilities_as_they_are() -> None:
    router, features = make_router(top_k=3), make_features(40)
    routing = router(features)
    logits = features.numpy() @ router.gate.weight.numpy().T + router.gate.bias.numpy()
    probs = softmax(logits, axis=1)
    np.testing.assert_allclose(routing.weights_NT, -np.sort(-probs, axis=1)[:, :3], rtol=1e-5)
    np.testing.assert_array_equal(routing.indices_NT, np.argsort(-probs, axis=1)[:, :3])
    np.testing.assert_allclose(routing.logsumexp(), logsumexp(logits, axis=1), atol=1e-5)


@torch.no_grad()
def test_salience_is_one_at_first_and_stays_within_bounds() -> None:
    router, features = make_router(has_salience=True), make_features(9)
    assert router.salience is not None
    assert (router(features).salience_N == 1).all()
    router.salience.weight[0, 3] = 1.0
    router.salience.bias.fill_(0.5)
    features[:3, 3] = torch.tensor([1.5, 1e20, -1e20])
    found = router(features).salience_N
    assert float(found[0]) == pytest.approx(2 / (1 + np.exp(-2.0)))
    assert 0 < float(found[2]) < 1e-8
    assert float(found[1]) == 2


@torch.no_grad()
def test_dense_weights_hold_each_patchs_weights_times_its_salience() -> None:
    router, features = make_router(has_salience=True), make_features(7)
    assert router.salience is not None
    router.salience.bias.fill_(-1.0)
    routing = router(features)
    dense = routing.dense_weights()
    assert ((dense > 0).sum(dim=1) == 2).all()
    for patch, (slots, weights) in enumerate(
        zip(routing.indices_NT.tolist(), routing.weights_NT.tolist(), strict=True)
    ):
        for slot, weight in zip(slots, weights, strict=True):
            factor = 2 / (1 + np.exp(1.0))
            assert float(dense[patch, slot]) == pytest.approx(weight * factor, rel=1e-5)


@pytest.mark.parametrize("fault", [float("nan"), float("inf"), -float("inf")])
def test_the_first_row_that_is_not_finite_is_named(fault: float) -> None:
    features = make_features(10)
    features[4, 2] = features[8, 0] = fault
    with pytest.raises(NonFiniteFeatureError) as caught:
        make_router()(features)
    assert caught.value.row == 4
