"""2DMamba (Zhang et al. 2025, CVPR, arXiv 2412.00678): a state space model over the slide's plane.

Embedded patches are placed where they lie on the slide, a learned token fills the cells between
them, and one Mamba block whose scan is `selective_scan_2d` passes over the grid. Attention then
pools the patches. Sizes are the published ones: 128 wide, 16 states, one block.

Departures. The block's short causal filter stays inside a row; the published code runs it over the
flattened grid, so that a row's first cells see the end of the row above. Attention pools patches
only; the published code also pools the filling cells, which are the majority on a slide with little
tissue. Without coordinates there is no plane, and bags without them are rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.errors import ShapeError, UsageError
from tcssa.mil.methods.attention import parts_of, pool
from tcssa.mil.methods.base import BagsLogits, PatchParts, PlacedClassifier
from tcssa.mil.methods.grid import PatchGrid
from tcssa.mil.methods.scan import selective_scan_2d

_FILTER = 4
_STEPS = (1e-3, 1e-1)
"""Smallest and largest step size Δ of a fresh block, as in Mamba."""


class Mamba2DBlock(nn.Module):
    """x + Mamba(norm(x)) on a grid [H, W, dim].

    Args:
        dim: Width of the tokens; twice that inside.
        state_dim: States of a channel.
    """

    def __init__(self, dim: int, state_dim: int) -> None:
        super().__init__()
        inner, rank = 2 * dim, math.ceil(dim / 16)
        self.sizes = [rank, state_dim, state_dim]
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        self.enter = nn.Linear(dim, 2 * inner, bias=False)
        self.filter = nn.Conv1d(inner, inner, _FILTER, groups=inner, padding=_FILTER - 1)
        self.select = nn.Linear(inner, sum(self.sizes), bias=False)
        self.step = nn.Linear(rank, inner)
        self.log_decay = nn.Parameter(torch.arange(1.0, state_dim + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, dim, bias=False)
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        low, high = (math.log(step) for step in _STEPS)
        steps = torch.exp(low + (high - low) * torch.rand(inner))
        with torch.no_grad():  # softplus of the bias is the step
            self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, grid: Tensor) -> Tensor:
        """Apply the block to a grid [H, W, dim], and return one of the same shape."""
        inputs, gate = self.enter(self.norm(grid)).chunk(2, dim=-1)
        filtered = self.filter(inputs.transpose(1, 2))[..., : grid.shape[1]].transpose(1, 2)
        scanned = self._scan(F.silu(filtered))
        left: Tensor = self.leave(scanned * F.silu(gate))
        return grid + left

    def _scan(self, x: Tensor) -> Tensor:
        rank, b, c = self.select(x).split(self.sizes, dim=-1)
        delta = F.softplus(self.step(rank))
        # decays near 1 are powers of many cells: bfloat16 has too few digits for them
        with torch.autocast(x.device.type, enabled=False):
            x, delta, b, c = (_at_least_float32(value) for value in (x, delta, b, c))
            y = selective_scan_2d(x, delta, -self.log_decay.exp(), b, c)
            return y + self.skip * x


class Mamba2D(PlacedClassifier):
    """2DMamba with attention over its patches.

    Args:
        feature_dim: D.
        num_classes: C.
        dim: Width of the tokens.
        state_dim: States of a channel.
        dropout: In the embedding.
    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        dim: int = 128,
        state_dim: int = 16,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(feature_dim, dim), nn.GELU(), nn.Dropout(dropout))
        self.empty = nn.Parameter(torch.rand(dim))
        self.block = Mamba2DBlock(dim, state_dim)
        self.norm = nn.LayerNorm(dim)
        self.score = nn.Sequential(nn.Linear(dim, 128), nn.Tanh(), nn.Linear(128, 1))
        self.out = nn.Linear(dim, num_classes)

    def forward(
        self,
        bags: Sequence[Tensor],
        labels: Tensor | None = None,
        coords: Sequence[Tensor] | None = None,
    ) -> BagsLogits:
        """See `PlacedClassifier.forward`; bags are classified one by one, each on its own grid.

        Raises:
            UsageError: There are no coords.
            ShapeError: The coords do not fit the bags, or are not corners of a grid.
        """
        if coords is None:
            raise UsageError("2dmamba reads where patches lie", hint="give coords with the bags")
        pairs = zip(bags, coords, strict=True)
        return BagsLogits(torch.stack([self._classify(bag.float(), at) for bag, at in pairs]))

    def _classify(self, bag: Tensor, coords: Tensor) -> Tensor:
        hidden = self._scanned(bag, coords)
        logits: Tensor = self.out(pool(self.score(hidden).T, hidden)[0])
        return logits

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`; a patch stands for what the scan made of its cell."""
        if coords is None:
            raise UsageError("2dmamba reads where patches lie", hint="give coords with the bags")
        hidden = self._scanned(bag, coords)
        return parts_of(self.score(hidden).T, self.out(hidden))

    def _scanned(self, bag: Tensor, coords: Tensor) -> Tensor:
        if len(coords) != len(bag):
            raise ShapeError(f"a bag has {len(bag)} patches, but {len(coords)} coords")
        grid = PatchGrid.of(coords)
        tokens = self.block(grid.place(self.embed(bag).float(), self.empty))
        hidden: Tensor = self.norm(grid.read(tokens))
        return hidden


def _at_least_float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
