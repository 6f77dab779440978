"""A bag as a square image cut into square regions, as RRT-MIL does it."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from torch import Tensor
from torch.nn import functional as F


class Regions(NamedTuple):
    """How N patches become regions: side × side patches, R × R regions of size × size.

    Regions that hold nothing but filling are the last ones, and are not cut out.
    """

    length: int
    side: int
    size: int

    @classmethod
    def of(cls, length: int, per_side: int) -> Self:
        """The smallest square that holds ``length`` patches and divides into regions."""
        side = math.isqrt(length - 1) + 1
        side += -side % per_side
        return cls(length, side, side // per_side)

    @property
    def per_side(self) -> int:
        """R."""
        return self.side // self.size

    @property
    def num_kept(self) -> int:
        """M, how many regions hold a patch."""
        above, begun = divmod(self.length - 1, self.size * self.side)
        return above * self.per_side + min(self.per_side, begun // self.size + 1)

    @property
    def num_empty(self) -> int:
        """How many hold none."""
        return self.per_side**2 - self.num_kept

    def cut(self, tokens: Tensor) -> Tensor:
        """Tokens [N, dim], filled up with zeros, to regions [M, size·size, dim]."""
        filled = F.pad(tokens, (0, 0, 0, self.side * self.side - self.length))
        grid = filled.reshape(self.per_side, self.size, self.per_side, self.size, -1)
        regions = grid.transpose(1, 2).reshape(self.per_side**2, self.size**2, -1)
        return regions[: self.num_kept]

    def join(self, regions: Tensor) -> Tensor:
        """Back from regions [M, size·size, dim] to tokens [N, dim]."""
        filled = F.pad(regions, (0, 0, 0, 0, 0, self.num_empty))
        grid = filled.reshape(self.per_side, self.per_side, self.size, self.size, -1)
        return grid.transpose(1, 2).reshape(self.side**2, -1)[: self.length]
