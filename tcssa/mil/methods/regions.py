"""A bag as a square image cut into square regions, as RRT-MIL does it."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from torch import Tensor
from torch.nn import functional as F


class Regions(NamedTuple):
    """How N patches become regions: side × side patches, R × R regions of size × size."""

    length: int
    side: int
    size: int

    @classmethod
    def of(cls, length: int, per_side: int) -> Self:
        """The smallest square that holds ``length`` patches and divides into regions."""
        side = math.isqrt(length - 1) + 1
        side += -side % per_side
        return cls(length, side, side // per_side)

    def cut(self, tokens: Tensor) -> Tensor:
        """Tokens [N, dim], filled up with zeros, to regions [R·R, size·size, dim]."""
        filled = F.pad(tokens, (0, 0, 0, self.side * self.side - self.length))
        per_side, dim = self.side // self.size, tokens.shape[1]
        grid = filled.reshape(per_side, self.size, per_side, self.size, dim)
        return grid.transpose(1, 2).reshape(per_side**2, self.size**2, dim)

    def join(self, regions: Tensor) -> Tensor:
        """Back from regions to tokens [N, dim]."""
        per_side, dim = self.side // self.size, regions.shape[2]
        grid = regions.reshape(per_side, per_side, self.size, self.size, dim)
        return grid.transpose(1, 2).reshape(self.side**2, dim)[: self.length]
