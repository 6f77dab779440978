"""The published compressor in float64 NumPy, from its equations alone.

TC-SSA (arXiv 2603.01143) as its paper writes it, one patch and one slot at a time: nothing here
comes from `tcssa`, so that it can be held against the library where the reference's own tensors
(../shared/golden) are not at hand.

    z_j = W_g x_j + b_g,  P_j = softmax(z_j);  P̃_j keeps the two largest, not renormalised
    c_k = Σ_j P̃_jk x_j / Σ_j P̃_jk,  0 for an empty slot
    y_k = c_k + LN_k(W2_k · GELU(W1_k c_k + b1_k) + b2_k)
    L   = K Σ_k mean(P)_k f_k + ½ (1 − H(mean P)/log K) + 1e-4 (mean_j logsumexp z_j)²

Shapes: B bags, N patches, D features, K slots, H hidden units, T slots per patch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]

NORM_EPS = 1e-5
"""What LayerNorm adds to the variance."""
ENTROPY_EPS = 1e-8
"""What the balance loss adds within the logarithm of its entropy."""


@dataclass(frozen=True)
class Expert:
    """The parameters of one slot's expert; a matrix multiplies from the left."""

    w1: Array
    """[H, D]."""
    b1: Array
    """[H]."""
    w2: Array
    """[D, H]."""
    b2: Array
    """[D]."""
    norm_weight: Array
    """[D]."""
    norm_bias: Array
    """[D]."""


@dataclass(frozen=True)
class Parameters:
    """The parameters of the published model."""

    gate_weight: Array
    """W_g, [K, D]."""
    gate_bias: Array
    """b_g, [K]."""
    experts: list[Expert]


class Compressed(NamedTuple):
    """What becomes of one bag."""

    slots: Array
    """y, [K, D]."""
    mass: Array
    """Σ_j P̃_jk, [K]."""
    assignments: NDArray[np.int64]
    """The slots of each patch, most probable first, [N, T]."""
    weights: Array
    """Their probabilities, [N, T]."""


def draw(num_slots: int, feature_dim: int, hidden_dim: int, seed: int) -> Parameters:
    """Random parameters, rounded to float32 so that a model of that type holds the same ones."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0, mean: float = 0.0) -> Array:
        return rng.normal(mean, scale, shape).astype(np.float32).astype(np.float64)

    def expert() -> Expert:
        return Expert(
            w1=normal(hidden_dim, feature_dim, scale=feature_dim**-0.5),
            b1=normal(hidden_dim, scale=0.3),
            w2=normal(feature_dim, hidden_dim, scale=hidden_dim**-0.5),
            b2=normal(feature_dim, scale=0.3),
            norm_weight=normal(feature_dim, scale=0.3, mean=1.0),
            norm_bias=normal(feature_dim, scale=0.3),
        )

    gate = normal(num_slots, feature_dim, scale=feature_dim**-0.5), normal(num_slots, scale=0.3)
    return Parameters(*gate, [expert() for _ in range(num_slots)])


def reference_state(parameters: Parameters) -> dict[str, Array]:
    """The same parameters by the names that the published code gives them."""
    state = {"gate.weight": parameters.gate_weight, "gate.bias": parameters.gate_bias}
    for k, expert in enumerate(parameters.experts):
        state |= {
            f"experts.{k}.net.0.weight": expert.w1,
            f"experts.{k}.net.0.bias": expert.b1,
            f"experts.{k}.net.3.weight": expert.w2,
            f"experts.{k}.net.3.bias": expert.b2,
            f"experts.{k}.net.4.weight": expert.norm_weight,
            f"experts.{k}.net.4.bias": expert.norm_bias,
        }
    return state


def compress(parameters: Parameters, bag: Array, top_k: int = 2) -> Compressed:
    """Compress one bag [N, D]."""
    num_slots, feature_dim = parameters.gate_weight.shape
    sums, mass = np.zeros((num_slots, feature_dim)), np.zeros(num_slots)
    assignments = np.zeros((len(bag), top_k), np.int64)
    weights = np.zeros((len(bag), top_k))
    for j, patch in enumerate(bag):
        logits = gate(parameters, patch)
        probabilities = np.exp(logits - logsumexp(logits))
        for rank, k in enumerate(largest(logits, top_k)):
            assignments[j, rank], weights[j, rank] = k, probabilities[k]
            sums[k] += probabilities[k] * patch
            mass[k] += probabilities[k]
    centres = [total / m if m > 0 else 0 * total for total, m in zip(sums, mass, strict=True)]
    refined = map(refine, parameters.experts, centres)
    return Compressed(np.stack(list(refined)), mass, assignments, weights)


def balance_loss(parameters: Parameters, bags: Sequence[Array], top_k: int = 2) -> float:
    """The loss of Semantic Affinity Clustering over all patches of the bags."""
    num_slots = len(parameters.gate_bias)
    logits = [gate(parameters, patch) for bag in bags for patch in bag]
    mean_probability = np.mean([np.exp(z - logsumexp(z)) for z in logits], axis=0)
    chosen = np.array([largest(z, top_k) for z in logits])
    share = np.array([(chosen == k).any(axis=1).mean() for k in range(num_slots)])
    entropy = -sum(p * math.log(p + ENTROPY_EPS) for p in mean_probability)
    mean_logsumexp = np.mean([logsumexp(z) for z in logits])
    return float(
        num_slots * (mean_probability @ share)
        + 0.5 * (1 - entropy / math.log(num_slots))
        + 1e-4 * mean_logsumexp**2
    )


def gate(parameters: Parameters, patch: Array) -> Array:
    """The logits z [K] of one patch [D], rounded once: equal parameters have equal logits."""
    pairs = zip(parameters.gate_weight, parameters.gate_bias, strict=True)
    return np.array([math.fsum([*(row * patch), bias]) for row, bias in pairs])


def largest(logits: Array, count: int) -> list[int]:
    """The slots of the largest logits, largest first; a tie goes to the lower slot."""
    return sorted(range(len(logits)), key=lambda k: (-logits[k], k))[:count]


def logsumexp(values: Array) -> float:
    """log Σ exp, without overflow."""
    top = values.max()
    return float(top + math.log(np.exp(values - top).sum()))


def refine(expert: Expert, centre: Array) -> Array:
    """y = c + LN(W2 · GELU(W1 c + b1) + b2), with the exact GELU."""
    hidden = expert.w1 @ centre + expert.b1
    hidden = hidden * 0.5 * (1 + erf(hidden / math.sqrt(2)))
    update = expert.w2 @ hidden + expert.b2
    normal = (update - update.mean()) / math.sqrt(update.var() + NORM_EPS)
    return centre + normal * expert.norm_weight + expert.norm_bias
