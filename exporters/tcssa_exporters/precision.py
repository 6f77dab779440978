"""In which number formats an exported model computes, and how far that may lead it from torch.

The gate is float32 in all of them: in half precision about one patch in a hundred would pick
another second slot. Pooling, experts and heads compute in the format the precision is called by.
NumPy has no bfloat16, and features stored in it cost 0.23 on their own, so both half precisions
take float16 features. Whatever the precision, outputs are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

PrecisionName = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Precision:
    """One choice of number formats."""

    name: PrecisionName
    input: str
    """Of the features, as NumPy calls it."""
    compute: str
    """Of pooling, experts and heads, as torch calls it."""
    tolerance: float
    """Largest deviation from torch in float32 on the same features, relative to the largest entry
    of the tensor (at least 1)."""
    reason: str
    """Why so much and no more."""

    @property
    def is_half(self) -> bool:
        """Whether anything is computed in 16 bits."""
        return self.compute != "float32"

    @property
    def dtype(self) -> torch.dtype:
        """``compute`` as torch's type."""
        import torch

        dtype: torch.dtype = getattr(torch, self.compute)
        return dtype

    def stages(self, *, head: bool) -> dict[str, str]:
        """The number format of every stage, for the artefact.

        Args:
            head: Whether anything follows the slots.
        """
        stages = {"input": self.input, "gate": "float32", "pooling": self.compute}
        stages["experts"] = self.compute
        return {**stages, "head": self.compute} if head else stages


PRECISIONS: dict[PrecisionName, Precision] = {
    "fp32": Precision(
        "fp32",
        "float32",
        "float32",
        2e-5,
        "sums over 20,000 patches in another order differ by a few 1e-6",
    ),
    "fp16": Precision(
        "fp16",
        "float16",
        "float16",
        3e-3,
        "each rounding is off by up to 5e-4, and six follow one another: share, mean, hidden "
        "units, update, norm, sum",
    ),
    "bf16": Precision(
        "bf16",
        "float16",
        "bfloat16",
        3e-2,
        "each rounding is off by up to 4e-3, and seven follow one another: feature, share, mean, "
        "hidden units, update, norm, sum",
    ),
}
