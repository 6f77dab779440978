"""The image towers of CONCH: a vision transformer, and a learned query over its tokens."""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tcssa.encoders.weights import State, WeightsFile, load_into, under_one_prefix
from tcssa.optional import require

_POSITIONS = "trunk.pos_embed"


class _QueryTower(nn.Module):
    """A trunk, a query that attends to its tokens, and a normalisation."""

    def __init__(self, trunk: Any, pool: nn.Module, dim: int) -> None:
        super().__init__()
        self.trunk, self.attn_pool_contrast = trunk, pool
        self.ln_contrast = nn.LayerNorm(dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels [B, 3, H, W] into features [B, D]."""
        tokens = self.trunk.forward_features(pixels)
        feature: Tensor = self.ln_contrast(self.attn_pool_contrast(tokens))
        return feature


class _TorchPool(nn.Module):
    """CONCH's pooling, with torch's attention.

    The feature is the first query's answer alone, and CONCH has one query.
    """

    def __init__(self, dim: int, token_dim: int, num_heads: int = 8) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.attn = nn.MultiheadAttention(
            dim, num_heads, kdim=token_dim, vdim=token_dim, batch_first=True
        )
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(token_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool tokens [B, N, C] into [B, D]."""
        seen = self.ln_k(tokens)
        asked = self.ln_q(self.query).expand(len(tokens), -1, -1)
        answer: Tensor = self.attn(asked, seen, seen, need_weights=False)[0]
        return answer[:, 0]


class _LinearPool(nn.Module):
    """CONCH 1.5's pooling: the same, with its own projections without biases."""

    def __init__(self, dim: int, token_dim: int, num_heads: int = 8) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(token_dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(token_dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool tokens [B, N, C] into [B, D]."""
        keys, values = self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1)
        asked = self.to_q(self.ln_q(self.query)).expand(len(tokens), -1, -1)
        query, key, value = (self._heads(part) for part in (asked, keys, values))
        answer = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.to_out(answer.transpose(1, 2).flatten(2))
        return result[:, 0]

    def _heads(self, part: Tensor) -> Tensor:
        batch, num, _ = part.shape
        return part.view(batch, num, self.num_heads, -1).transpose(1, 2)


def conch_v1(weights: WeightsFile, *, input_px: int, depth: int = 12) -> nn.Module:
    """Build CONCH: ViT-B/16, D = 512, without the projection into the space shared with text.

    Args:
        weights: The file of weights.
        input_px: Side of the patches, in pixels.
        depth: Number of transformer blocks.
    """
    trunk = _trunk("vit_base_patch16_224", input_px, depth)
    tower = _QueryTower(trunk, _TorchPool(512, 768), 512)
    state = _resized(weights.read(), input_px // 16, "bilinear")
    other = r"(text|text_decoder|visual\.attn_pool_caption|visual\.ln_caption|attn_pool_caption"
    other += r"|ln_caption|mask_token)\b|(visual\.)?proj_contrast$|logit_scale$"
    load_into(tower, state, weights.path, ignored=other)
    return tower


def conch_v15(weights: WeightsFile, *, input_px: int, depth: int = 24) -> nn.Module:
    """Build CONCH 1.5: ViT-L/16 with layer scale, D = 768.

    Args:
        weights: The file of weights.
        input_px: Side of the patches, in pixels.
        depth: Number of transformer blocks.
    """
    trunk = _trunk("vit_large_patch16_224", input_px, depth, init_values=1e-6)
    tower = _QueryTower(trunk, _LinearPool(768, 1024), 768)
    state = _resized(weights.read(), input_px // 16, "bicubic")
    load_into(tower, state, weights.path)
    return tower


def _trunk(architecture: str, input_px: int, depth: int, **options: Any) -> Any:
    timm = require("timm", extra="encoders")
    return timm.create_model(
        architecture, pretrained=False, num_classes=0, img_size=input_px, depth=depth, **options
    )


def _resized(state: State, grid: int, mode: str) -> State:
    """Resize the position embedding to this grid once, as the original does at every call.

    CONCH interpolates linearly; CONCH 1.5 interpolates with cubic splines and, like DINO, by a
    scale that is a tenth of a cell too large.
    """
    state = under_one_prefix(state, [_POSITIONS, "ln_contrast.weight"])
    stored = state.get(_POSITIONS)
    if stored is None or stored.shape[1] == grid * grid + 1:
        return state
    side = isqrt(stored.shape[1] - 1)
    first, rest = stored[:, :1].float(), stored[:, 1:].float()
    picture = rest.view(len(rest), side, side, -1).permute(0, 3, 1, 2)
    if mode == "bilinear":
        picture = F.interpolate(picture, (grid, grid), mode=mode, align_corners=False)
    else:
        scale = (grid + 0.1) / side
        picture = F.interpolate(picture, scale_factor=(scale, scale), mode=mode)
    return state | {_POSITIONS: torch.cat([first, picture.flatten(2).transpose(1, 2)], dim=1)}
