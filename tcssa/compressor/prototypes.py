"""A gate that begins as k-means of patches, so that slots mean something from the start.

A linear gate can be k-means: with W_k = μ_k / τ and b_k = -|μ_k|² / 2τ, the softmax over slots is
that of -|x - μ_k|² / 2τ. Random gates are near uniform, and the balance loss keeps them there. Only
the beginning changes: checkpoints and engines are as before.

Shapes: M patches, D features, K slots.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.budgets import budgets_of
from tcssa.compressor.compressor import SlotCompressor

Ints = NDArray[np.intp]

MAX_PATCHES = 20_000
"""Over all slides together; more do not move the prototypes."""
FIRST_WEIGHT = 0.6
"""Mean probability of a patch's first slot, which sets τ."""
_STEPS = 60


@torch.no_grad()
def begin_at(compressor: SlotCompressor, patches: Tensor, seed: int) -> Tensor | None:
    """Set the gate of a compressor to prototypes of patches.

    Args:
        compressor: The model whose gate is set.
        patches: Features as the gate sees them, [M, D], float32, on the CPU.
        seed: Seed of k-means.

    Returns:
        The prototype of each slot, [K, D]; None where fewer than K patches are distinct, and the
        gate stays as it is.
    """
    gate = compressor.router.gate
    found = _prototypes(patches.numpy(), gate.out_features, seed)
    if found is None:
        return None
    prototypes = torch.from_numpy(in_tree_order(found) if compressor.config.nested else found)
    weight, bias = gate_of(prototypes, patches)
    gate.weight.copy_(weight)
    gate.bias.copy_(bias)
    return prototypes


def gate_of(prototypes: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    """Make the linear gate of prototypes, τ such that the mean first weight is `FIRST_WEIGHT`.

    Args:
        prototypes: μ, [K, D].
        patches: Patches that τ is measured on, [M, D].

    Returns:
        The gate's weight [K, D] and bias [K].
    """
    scores = patches @ prototypes.T - prototypes.square().sum(dim=1) / 2
    low, high = -30.0, 30.0  # of log τ; the mean first weight falls with τ
    scale = float(scores.std()) or 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        first = (scores / (scale * np.exp(middle))).softmax(dim=1).amax(dim=1).mean()
        low, high = (middle, high) if first > FIRST_WEIGHT else (low, middle)
    tau = scale * np.exp((low + high) / 2)
    return prototypes / tau, -prototypes.square().sum(dim=1) / (2 * tau)


def in_tree_order(prototypes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Order prototypes so that those which fold into one another are alike.

    They are cut into as many groups as the smallest budget has slots, each across its longest axis,
    and the groups into halves, and so on: j mod K' is the branch that a prototype lies on.

    Args:
        prototypes: One row per slot, [K, D].

    Returns:
        The same rows in another order.
    """
    groups = _cut(prototypes, np.arange(len(prototypes)), budgets_of(len(prototypes))[0])
    order = np.stack([_halved(prototypes, group) for group in groups], axis=1).ravel()
    return prototypes[order]


def _cut(rows: NDArray[np.float32], chosen: Ints, num_groups: int) -> list[Ints]:
    """Cut rows into equal groups that lie side by side, in halves as long as that works."""
    at_once = 2 if num_groups % 2 == 0 else num_groups
    if at_once == 1:
        return [chosen]
    centred = rows[chosen].astype(np.float64)
    centred -= centred.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    parts = np.split(chosen[np.argsort(centred @ axis, kind="stable")], at_once)
    return [group for part in parts for group in _cut(rows, part, num_groups // at_once)]


def _halved(rows: NDArray[np.float32], chosen: Ints) -> Ints:
    """Order a group so that its halves alternate, and the halves of these, and so on."""
    if len(chosen) % 2:
        return chosen
    halves = [_halved(rows, half) for half in _cut(rows, chosen, 2)]
    return np.stack(halves, axis=1).ravel()


def _prototypes(
    patches: NDArray[np.float32], num_slots: int, seed: int
) -> NDArray[np.float32] | None:
    if len(np.unique(patches, axis=0)) < num_slots:
        return None
    return kmeans(patches, num_slots, seed)[0]


def kmeans(
    patches: NDArray[np.float32], num_groups: int, seed: int = 0
) -> tuple[NDArray[np.float32], Ints]:
    """Divide patches into groups by k-means; the same seed gives the same bits on a machine.

    Args:
        patches: Features [M, D].
        num_groups: Number of groups, at most M.
        seed: Seed of the first centres.

    Returns:
        The centre of each group [K, D], and its number of patches [K].
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # no stubs

    # several threads add up in whatever order they end: the same seed would give other bits
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(num_groups, n_init=1, max_iter=50, random_state=seed).fit(patches)
    centres: NDArray[np.float32] = found.cluster_centers_.astype(np.float32)
    return centres, np.bincount(found.labels_, minlength=num_groups)
