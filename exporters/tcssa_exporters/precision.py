"""The number formats that an exported model computes in, and its allowed deviation from torch.

The gate, and the embedding before it, are float32 in every precision: in half precision about one
patch in a hundred would pick another second slot. Pooling, experts and heads compute in the format
that names the precision. NumPy has no bfloat16, and features stored in it cost 0.23 on their own,
so both half precisions take float16 features. Outputs are float32 in every precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

PrecisionName = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Precision:
    """The number formats of one precision."""

    name: PrecisionName
    input: str
    """Format of the features, under NumPy's name."""
    compute: str
    """Format of pooling, experts and heads, under torch's name."""
    tolerance: float
    """Largest deviation from torch in float32 on the same features, relative to the largest entry
    of the tensor (at least 1)."""
    reason: str
    """Reason for this tolerance."""

    @property
    def is_half(self) -> bool:
        """Tell whether anything is computed in 16 bits."""
        return self.compute != "float32"

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of ``compute``."""
        import torch

        dtype: torch.dtype = getattr(torch, self.compute)
        return dtype

    def not_run(self) -> list[str]:
        """List what a comparison of the ONNX file on the CPU does not cover."""
        if not self.is_half:
            return []
        open_ends = [
            f"{self.compute} hardware: the comparison 'rounded' computes each 16-bit operation in "
            "float32 and rounds its result"
        ]
        if self.compute == "bfloat16":
            open_ends.append(
                "the file as it is: ONNX Runtime's CPU provider loads no bfloat16; it passed the "
                "ONNX checker, and 'rounded' is made from it"
            )
        return open_ends

    def stages(self, *, head: bool, embedding: bool = False) -> dict[str, str]:
        """Return the number format of every stage, as ``artefact.json`` states it.

        Args:
            head: Whether the model has heads.
            embedding: Whether it embeds its patches.
        """
        return {
            "input": self.input,
            **({"embedding": "float32"} if embedding else {}),
            "gate": "float32",
            "pooling": self.compute,
            "experts": self.compute,
            **({"head": self.compute} if head else {}),
        }


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
