"""The compressor as a graph that exports well.

`tcssa.SlotCompressor` packs bags and streams them in chunks, which no graph can. This module
computes the same on a padded batch in one pass, with the weights of the same model.

Four choices are there for what comes after torch:

- An empty slot is guarded by `where`, not by a δ in the denominator: ONNX optimisers take a
  scalar within 1e-8 of zero for zero and fold its addition away.
- The weights are normalised *before* the product with the features. After it, TensorRT copies
  the features: 3.5 GB of scratch memory at B = 8, N = 100,000.
- A softmax is never materialised; only the chosen slots' probabilities are. That brings the
  scratch memory at that size from 416 MB to 246 MB.
- The mass is a matrix product and no sum: ONNX Runtime sums over patches one after another in
  float32, which is off by 1e-4 at N = 20,000 and by 1e-3 at N = 500,000, and with it the slots.

Contract on padding: what stands in the rows beyond ``lengths`` does not matter, as long as it is
finite (0 × NaN is NaN). The runtimes set these rows to zero.

Shapes: B bags, N patches, D features, K slots, T = top_k.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tcssa import SlotCompressor

INPUTS = ("features", "lengths")
OUTPUTS = ("slots", "mass", "assignments", "weights")


class ExportGraph(nn.Module):
    """A compressor in evaluation mode and float32, as one pass over a padded batch.

    Args:
        model: The compressor; it is copied and stays as it is.
    """

    slot_ids: Tensor

    def __init__(self, model: SlotCompressor) -> None:
        super().__init__()
        model = copy.deepcopy(model).float().cpu().eval()
        self.gate = model.router.gate
        self.experts = model.experts
        self.top_k = model.config.top_k
        # a buffer must not be called as an output is: ONNX has one name space for both
        self.register_buffer("slot_ids", torch.arange(model.config.num_slots))
        self.eval()

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compress a padded batch of bags.

        Args:
            features: Patch features [B, N, D], float32; finite in every row, padding included.
            lengths: Patches of each bag, [B], int64; 0 to N.

        Returns:
            Slots [B, K, D]; mass [B, K]; assignments [B, N, T] (int64, most probable first, -1
            for padding); weights [B, N, T] (0 for padding).
        """
        real_BN1 = (torch.arange(features.shape[1]) < lengths.unsqueeze(1)).unsqueeze(2)
        logits_BNK = self.gate(features)
        chosen_BNT = self._largest(logits_BNK)
        weights_BNT = torch.where(real_BN1, _probabilities(logits_BNK, chosen_BNT), 0.0)
        dense_BNK = self._spread(chosen_BNT, weights_BNT)
        mass_BK = (real_BN1.to(dense_BNK.dtype).transpose(1, 2) @ dense_BNK).squeeze(1)
        share_BNK = dense_BNK / torch.where(mass_BK > 0, mass_BK, 1.0).unsqueeze(1)
        slots_BKD = self.experts(share_BNK.transpose(1, 2) @ features)
        return slots_BKD, mass_BK, torch.where(real_BN1, chosen_BNT, -1), weights_BNT

    def _largest(self, logits_BNK: Tensor) -> Tensor:
        """Indices [B, N, T] of the largest logits; the lower index wins a tie, as in `Router`."""
        remaining = logits_BNK
        chosen = [remaining.argmax(dim=2, keepdim=True)]
        while len(chosen) < self.top_k:
            remaining = torch.where(chosen[-1] == self.slot_ids, float("-inf"), remaining)
            chosen.append(remaining.argmax(dim=2, keepdim=True))
        return torch.cat(chosen, dim=2)

    def _spread(self, chosen_BNT: Tensor, weights_BNT: Tensor) -> Tensor:
        """The weights as a matrix [B, N, K], 0 where a patch does not go."""
        dense_BNK = torch.where(chosen_BNT[:, :, :1] == self.slot_ids, weights_BNT[:, :, :1], 0.0)
        for t in range(1, self.top_k):
            goes_there = chosen_BNT[:, :, t : t + 1] == self.slot_ids
            dense_BNK = torch.where(goes_there, weights_BNT[:, :, t : t + 1], dense_BNK)
        return dense_BNK


def _probabilities(logits_BNK: Tensor, chosen_BNT: Tensor) -> Tensor:
    """The softmax over K at the chosen slots, [B, N, T]; the first of them is the largest."""
    chosen_logits = logits_BNK.gather(2, chosen_BNT)
    largest = chosen_logits[:, :, :1]
    total = (logits_BNK - largest).exp().sum(dim=2, keepdim=True)
    return (chosen_logits - largest).exp() / total
