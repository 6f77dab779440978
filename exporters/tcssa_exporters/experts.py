"""The experts of the slots in the form that ONNX Runtime computes fastest.

ONNX Runtime reads the right-hand matrix slowly in products of few rows with many columns, and an
expert's layer is such a product, with one row per slide. With the weights on the left, and the
slides as columns, the experts of two to sixteen slides took half the time on one core, those of one
slide the same. TensorRT has no such preference and gets the experts unchanged.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.compressor.experts import SlotExperts


class WeightsFirstExperts(nn.Module):
    """`SlotExperts` in evaluation mode, with transposed products: yᵀ = Wᵀ xᵀ.

    Args:
        experts: The experts whose weights to use, in the number format to compute in.
    """

    def __init__(self, experts: SlotExperts) -> None:
        super().__init__()
        for name in ("w_in", "b_in", "w_out", "b_out"):
            turned = getattr(experts, name).detach().transpose(1, 2).contiguous()
            self.register_buffer(name, turned)
        self.register_buffer("norm_weight", experts.norm_weight.detach())
        self.register_buffer("norm_bias", experts.norm_bias.detach())

    w_in: Tensor
    """[K, H, D]."""
    b_in: Tensor
    """[K, H, 1]."""
    w_out: Tensor
    """[K, D, H]."""
    b_out: Tensor
    """[K, D, 1]."""
    norm_weight: Tensor
    norm_bias: Tensor

    def forward(self, centers_BKD: Tensor) -> Tensor:
        """Refine slot centres [B, K, D] into slots of the same shape."""
        c_KDB = centers_BKD.permute(1, 2, 0)
        hidden_KHB = F.gelu(self.w_in @ c_KDB + self.b_in)
        update_KBD = (self.w_out @ hidden_KHB + self.b_out).transpose(1, 2)
        update_KBD = F.layer_norm(update_KBD, update_KBD.shape[-1:])
        update_KBD = update_KBD * self.norm_weight + self.norm_bias
        return centers_BKD + update_KBD.transpose(0, 1)
