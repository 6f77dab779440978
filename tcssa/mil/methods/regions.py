"""A bag as a square image cut into square regions, as in RRT-MIL."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from torch import Tensor
from torch.nn import functional as F


class Regions(NamedTuple):
    """Division of N patches into regions: side × side patches, R × R regions of size × size.

    Regions of padding alone are the last ones, and are not cut out.
    """

    length: int
    side: int
    size: int

    @classmethod
    def of(cls, length: int, per_side: int) -> Self:
        """Find the smallest square that holds the patches and divides into regions.

        Args:
            length: N.
            per_side: R, regions along a side of the square.
        """
        side = math.isqrt(length - 1) + 1
        side += -side % per_side
        return cls(length, side, side // per_side)

    @property
    def per_side(self) -> int:
        """R, regions along a side of the square."""
        return self.side // self.size

    @property
    def num_kept(self) -> int:
        """M, the number of regions that hold a patch."""
        above, begun = divmod(self.length - 1, self.size * self.side)
        return above * self.per_side + min(self.per_side, begun // self.size + 1)

    @property
    def num_empty(self) -> int:
        """Number of regions that hold no patch."""
        return self.per_side**2 - self.num_kept

    def cut(self, tokens: Tensor) -> Tensor:
        """Cut tokens [N, dim], padded with zeros, into regions [M, size·size, dim]."""
        filled = F.pad(tokens, (0, 0, 0, self.side * self.side - self.length))
        grid = filled.reshape(self.per_side, self.size, self.per_side, self.size, -1)
        regions = grid.transpose(1, 2).reshape(self.per_side**2, self.size**2, -1)
        return regions[: self.num_kept]

    def join(self, regions: Tensor) -> Tensor:
        """Turn regions [M, size·size, dim] back into tokens [N, dim]."""
        filled = F.pad(regions, (0, 0, 0, 0, 0, self.num_empty))
        grid = filled.reshape(self.per_side, self.per_side, self.size, self.size, -1)
        return grid.transpose(1, 2).reshape(self.side**2, -1)[: self.length]
