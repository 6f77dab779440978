"""Patches on the grid that they were cut from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tcssa.errors import ShapeError

_MOST_CELLS = 2**20
"""A slide of 200,000 px has fewer at 224 px a patch; with more, the corners must be wrong."""


@dataclass(frozen=True)
class PatchGrid:
    """The smallest grid around a bag's patches, and the cell of each."""

    height: int
    width: int
    cells: Tensor
    """Cell of every patch, counted row by row, [N], on the CPU."""

    @classmethod
    def of(cls, coords: Tensor) -> Self:
        """Find the grid of patches with these corners.

        Files do not state their grid's pitch reliably (overlap, microns, no attributes), so it is
        read from the corners: see `pitch_of`. Corners between cells go to the nearest.

        Args:
            coords: Corners (x, y), [N, 2], in any unit.

        Raises:
            ShapeError: The coords are not [N, 2] or not finite, or span more cells than one slide
                can have.
        """
        if coords.ndim != 2 or coords.shape[1] != 2 or not len(coords):
            raise ShapeError(f"coords must be [N, 2], got {list(coords.shape)}")
        corners = coords.cpu().double()  # Apple's GPUs have no float64
        if not torch.isfinite(corners).all():
            raise ShapeError("coords hold NaN or infinities")
        pitch = pitch_of(corners)
        columns, rows = ((corners - corners.amin(dim=0)) / pitch).round().long().unbind(dim=1)
        width, height = int(columns.max()) + 1, int(rows.max()) + 1
        if width * height > _MOST_CELLS:
            raise ShapeError(
                f"patches at a pitch of {pitch:g} span {width} x {height} cells, more than "
                f"{_MOST_CELLS}; are these the corners of one slide?"
            )
        return cls(height, width, rows * width + columns)

    def place(self, tokens: Tensor, empty: Tensor) -> Tensor:
        """Put tokens [N, dim] into their cells, [H, W, dim].

        Args:
            tokens: Tokens of the patches; those of one cell are averaged.
            empty: Token of cells without a patch, [dim].
        """
        num_cells = self.height * self.width
        counts = torch.bincount(self.cells, minlength=num_cells).unsqueeze(1).to(tokens.device)
        cells = self.cells.to(tokens.device)
        sums = tokens.new_zeros(num_cells, tokens.shape[1]).index_add(0, cells, tokens)
        filled = torch.where(counts > 0, sums / counts.clamp(min=1), empty)
        return filled.reshape(self.height, self.width, -1)

    def read(self, grid: Tensor) -> Tensor:
        """Read the cell of every patch, [N, dim], out of a grid [H, W, dim]."""
        return grid.flatten(0, 1)[self.cells.to(grid.device)]


def pitch_of(corners: Tensor) -> float:
    """Find the most common distance between neighbours of a row or column.

    Args:
        corners: Corner (x, y) of each patch, float64 [N, 2].

    Returns:
        That distance; if no two patches share a row or column, the smallest step along an axis; 1
        for a single patch.
    """
    in_line, in_any = [], []
    for axis in (0, 1):
        lines = torch.unique(corners[:, [1 - axis, axis]], dim=0)  # sorted by line, then in it
        steps = lines.diff(dim=0)
        in_line.append(steps[steps[:, 0] == 0, 1])
        in_any.append(torch.unique(corners[:, axis]).diff())
    values, counts = _steps(in_line)
    if len(values):
        return float(values[counts.argmax()])  # of equally common steps the smallest
    values, _ = _steps(in_any)
    return float(values[0]) if len(values) else 1.0


def _steps(steps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the steps that occur, rising, and their counts; rounded to 0.01 as µm are inexact."""
    rounded = torch.cat(steps).round(decimals=2)
    values, counts = torch.unique(rounded[rounded > 0], return_counts=True)
    return values, counts
