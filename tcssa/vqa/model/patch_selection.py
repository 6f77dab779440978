"""Visual encoders that show some of a slide's patches, or all of them, as they are.

Shapes: N patches, V visual tokens, D features.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from tcssa.errors import ShapeError, TooManyPatchesError
from tcssa.vqa.model.visual_encoder import TokensAsAsked, VisualConfig, VisualEncoder

_REACH, _HALVINGS = 20.0, 50
"""Bounds of a soft top-m's shift, in logits beyond the scores; steps of the search for it."""


class FullVisual(VisualEncoder):
    """Every patch, as far as the language model's context reaches."""

    decisive = ("kind", "feature_dim", "max_patches")
    fixed_length = False

    def num_tokens(self, num_patches: int) -> int:
        """Return the number of patches."""
        if num_patches > self.config.max_patches:
            raise TooManyPatchesError(num_patches, self.config.max_patches)
        return num_patches

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: all patches [N, D]."""
        self.num_tokens(len(features))
        return features, None


class SampleVisual(TokensAsAsked):
    """Patches chosen at random, the same ones of a slide each time, in their order."""

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the chosen patches [V, D]."""
        seed = int.from_bytes(hashlib.sha256(slide_id.encode()).digest()[:8], "big", signed=True)
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
        chosen = order[: self.num_tokens(len(features))].sort().values
        return features[chosen.to(features.device)], None


class SpatialVisual(TokensAsAsked):
    """Patches spread over the tissue, in their order.

    The first is the one nearest to the middle of all; each next one is the one farthest from all
    that were chosen (farthest-point sampling), the first in order of those that are equally far.
    """

    reads_um = False

    def __init__(self, config: VisualConfig) -> None:
        super().__init__(config)
        self.reads_coords = True

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the chosen patches [V, D]."""
        if coords is None or len(coords) != len(features):
            raise ShapeError(f"{slide_id}: --visual spatial needs the place of every patch")
        places = coords.double().cpu()
        chosen = [int((places - places.mean(dim=0)).square().sum(dim=1).argmin())]
        distance = torch.full((len(places),), torch.inf, dtype=torch.float64)
        while len(chosen) < self.num_tokens(len(features)):
            distance = distance.minimum((places - places[chosen[-1]]).square().sum(dim=1))
            distance[chosen] = -1  # patches may share a place
            chosen.append(int(distance.argmax()))
        return features[torch.tensor(sorted(chosen), device=features.device)], None


class TopVisual(TokensAsAsked):
    """Patches of the highest learned score, in their order.

    Learned selection after SparseLearn (Learnable Token Sparsification, arXiv 2606.08641), as far
    as its abstract tells: a scorer; in training a soft top-m, whose gates g let each patch through
    with noise of the same variance, sqrt(g) x + sqrt(1 - g) ε; afterwards the m best patches as
    they are. It departs from the paper in that training, too, shows m patches, drawn by their
    scores, and in that there is no denoiser of its own: the projector learns on noisy patches.
    """

    decisive = (*TokensAsAsked.decisive, "attention_dim")

    def __init__(self, config: VisualConfig) -> None:
        super().__init__(config)
        self.scorer = nn.Sequential(
            nn.Linear(self.feature_dim, config.attention_dim),
            nn.GELU(),
            nn.Linear(config.attention_dim, 1),
        )

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the chosen patches [V, D], noisy in training."""
        num_tokens = self.num_tokens(len(features))
        if num_tokens == len(features):
            return features, None
        with torch.autocast(features.device.type, enabled=False):
            scores = self.scorer(features).squeeze(1)
            if not self.training:
                return features[_best(scores, num_tokens)], None
            uniform = torch.rand_like(scores).clamp(1e-6, 1 - 1e-6)
            gumbel = -(-uniform.log()).log()  # the m best of these are drawn without replacement
            chosen = _best(scores + gumbel, num_tokens)
            gates = soft_top(scores, num_tokens)[chosen, None]
            shown = features[chosen]
            noise = torch.randn_like(shown) * features.std(dim=0, correction=0)
            gates = gates.clamp(1e-6, 1 - 1e-6)  # at 0 the slope of the root is infinite
            return gates.sqrt() * shown + (1 - gates).sqrt() * noise, None


def _best(scores: Tensor, num_tokens: int) -> Tensor:
    """Return the places of the highest scores in order, of equal ones the first."""
    return scores.argsort(descending=True, stable=True)[:num_tokens].sort().values


def soft_top(scores: Tensor, num_chosen: int) -> Tensor:
    """Return gates in [0, 1] that add up to a number: the sigmoid of scores, shifted.

    Args:
        scores: A score a patch, [N].
        num_chosen: The sum of the gates, 1 to N - 1.

    Returns:
        Gates [N], with gradients.
    """
    with torch.no_grad():
        low, high = scores.min() - _REACH, scores.max() + _REACH
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            too_many = (scores - middle).sigmoid().sum() > num_chosen
            low, high = torch.where(too_many, middle, low), torch.where(too_many, high, middle)
        shift = (low + high) / 2
        slope = (scores - shift).sigmoid()
        slope = slope * (1 - slope)
    # the shift follows the scores, weighted by the gates' slopes: the sum must stay the same
    follows = (slope * scores).sum() / slope.sum().clamp_min(1e-12)
    return (scores - shift - (follows - follows.detach())).sigmoid()
