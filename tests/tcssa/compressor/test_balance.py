"""The loss that keeps slots in use and apart."""

import numpy as np
import pytest
import torch
from factories import make_features
from scipy.special import logsumexp, softmax

from tcssa.compressor.balance import RoutingSums
from tcssa.compressor.router import Router, Routing

NUM_SLOTS = 6


def routed(num_patches: int, seed: int = 0) -> Routing:
    torch.manual_seed(seed)
    with torch.no_grad():
        return Router(16, NUM_SLOTS, 2, noise_std=0.0)(make_features(num_patches, seed=seed))


def routed_to(slots: list[list[int]]) -> Routing:
    """Patches whose logits are 9 at the slots they go to, and 0 elsewhere."""
    indices = torch.tensor(slots)
    logits = torch.zeros(len(slots), NUM_SLOTS).scatter(1, indices, 9.0)
    probs = logits.softmax(dim=1)
    return Routing(logits, probs, indices, probs.gather(1, indices))


def test_the_loss_is_what_the_formula_says() -> None:
    routing = routed(50)
    logits = routing.logits_NK.double().numpy()
    mean = softmax(logits, axis=1).mean(axis=0)
    top = np.argsort(-logits, axis=1)[:, :2]
    share = np.array([(top == slot).any(axis=1).mean() for slot in range(NUM_SLOTS)])
    entropy = -(mean * np.log(mean)).sum()
    expected = (
        NUM_SLOTS * (mean @ share)
        + (1 - entropy / np.log(NUM_SLOTS)) / 2
        + 1e-4 * logsumexp(logits, axis=1).mean() ** 2
    )
    assert float(RoutingSums.of(routing).balance_loss()) == pytest.approx(expected, rel=1e-5)


def test_parts_add_up_to_the_whole() -> None:
    routing = routed(50)
    sums = RoutingSums.empty(NUM_SLOTS, torch.device("cpu"))
    for rows in (slice(0, 7), slice(7, 7), slice(7, 50)):
        part = Routing(*(each[rows] for each in routing[:4]))
        sums = RoutingSums.of(part).merge(sums)
    whole = RoutingSums.of(routing)
    assert sums.num_patches == 50
    assert torch.equal(sums.counts, whole.counts)
    torch.testing.assert_close(sums.balance_loss(), whole.balance_loss())


def test_collapse_costs_more_than_even_use_and_is_seen() -> None:
    collapsed = RoutingSums.of(routed_to([[0, 1]] * 6))
    even = RoutingSums.of(routed_to([[0, 1], [2, 3], [4, 5]] * 2))
    assert float(collapsed.balance_loss()) > float(even.balance_loss()) + 1
    assert collapsed.effective_slots() == pytest.approx(2)
    assert even.effective_slots() == pytest.approx(NUM_SLOTS)
    assert collapsed.utilisation().tolist() == [0.5, 0.5, 0, 0, 0, 0]


def test_no_patches_cost_nothing_and_use_no_slot() -> None:
    empty = RoutingSums.empty(NUM_SLOTS, torch.device("cpu"))
    assert float(empty.balance_loss()) == 0
    assert empty.utilisation().tolist() == [0.0] * NUM_SLOTS


def test_the_loss_teaches_the_gate_until_it_is_detached() -> None:
    torch.manual_seed(0)
    router = Router(16, NUM_SLOTS, 2, noise_std=0.0)
    sums = RoutingSums.of(router(make_features(20)))
    assert not sums.detach().balance_loss().requires_grad
    sums.balance_loss().backward()
    assert router.gate.weight.grad is not None
    assert router.gate.weight.grad.abs().sum() > 0
