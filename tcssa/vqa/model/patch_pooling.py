"""Visual encoders that sum a slide's patches up without a compressor.

Shapes: N patches, V visual tokens, D features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tcssa.compressor.prototypes import kmeans
from tcssa.vqa.model.visual_encoder import TokensAsAsked, VisualConfig, VisualEncoder

_ROWS_AT_ONCE = 4096
"""Tokens that are compared with all others at once, which bounds memory."""


class MeanVisual(VisualEncoder):
    """One token: the mean of all patches."""

    def num_tokens(self, num_patches: int) -> int:
        """Return 1."""
        return 1

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the mean [1, D]."""
        return features.mean(dim=0, keepdim=True), None


class AbmilVisual(VisualEncoder):
    """One token: the mean of all patches, weighted by gated attention.

    Ilse et al., Attention-based Deep Multiple Instance Learning (ICML 2018): a = softmax over the
    patches of w · (tanh(V x) ⊙ sigmoid(U x)).
    """

    decisive = ("kind", "feature_dim", "attention_dim")

    def __init__(self, config: VisualConfig) -> None:
        super().__init__(config)
        self.content = nn.Linear(self.feature_dim, config.attention_dim)
        self.gate = nn.Linear(self.feature_dim, config.attention_dim)
        self.score = nn.Linear(config.attention_dim, 1)

    def num_tokens(self, num_patches: int) -> int:
        """Return 1."""
        return 1

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the weighted mean [1, D], in float32 even under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            hidden = torch.tanh(self.content(features)) * torch.sigmoid(self.gate(features))
            attention = self.score(hidden).softmax(dim=0)
            return attention.T @ features, None


class KMeansVisual(TokensAsAsked):
    """The centres of k-means among the slide's own patches, the largest group first."""

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the centres [V, D]."""
        num_tokens = self.num_tokens(len(features))
        if num_tokens == len(features):
            return features, None
        centres, sizes = kmeans(features.cpu().numpy(), num_tokens)
        order = np.argsort(-sizes, kind="stable")
        return torch.from_numpy(centres[order]).to(features.device), None


class ToMeVisual(TokensAsAsked):
    """Patches merged, the most alike first, until as few are left as are asked for.

    Bipartite soft matching of Token Merging (Bolya et al., ICLR 2023), on features instead of the
    keys of a transformer: every second token looks for its most similar one among the others (by
    cosine), and the most similar pairs become their mean, weighted by how many patches each holds;
    at most a quarter of the tokens go in a round. What is left stays in its order.
    """

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the merged patches [V, D]."""
        num_tokens = self.num_tokens(len(features))
        tokens, sizes = features, features.new_ones(len(features))
        with torch.autocast(features.device.type, enabled=False):  # rounding would choose pairs
            while len(tokens) > num_tokens:
                tokens, sizes = _merged(tokens, sizes, len(tokens) - num_tokens)
        return tokens, None


def _merged(tokens: Tensor, sizes: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Merge pairs of tokens once.

    Args:
        tokens: Tokens [M, D], at least two.
        sizes: Patches in each, [M].
        most: Most tokens that may go.

    Returns:
        The tokens that are left and their sizes, in their order.
    """
    ours = torch.arange(1, len(tokens), 2, device=tokens.device)
    others = torch.arange(0, len(tokens), 2, device=tokens.device)
    unit = functional.normalize(tokens, dim=1)
    parts = torch.split(unit[ours], _ROWS_AT_ONCE)
    found = [(part @ unit[others].T).max(dim=1) for part in parts]
    similarity = torch.cat([values for values, _ in found])
    nearest = others[torch.cat([places for _, places in found])]
    most = min(most, (len(tokens) + 3) // 4)  # more would merge what is not alike
    going = similarity.argsort(descending=True, stable=True)[:most]
    goes, into = ours[going], nearest[going]
    sums = (tokens * sizes[:, None]).index_add(0, into, tokens[goes] * sizes[goes, None])
    sizes = sizes.index_add(0, into, sizes[goes])
    stays = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
    stays[goes] = False
    return sums[stays] / sizes[stays, None], sizes[stays]
