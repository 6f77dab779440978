"""CLAM (Lu et al. 2021, Nature Biomedical Engineering; arXiv 2004.09666).

Gated attention, with one branch for all classes (CLAM-SB) or one a class (CLAM-MB), and
instance-level clustering: classifiers learn to tell the patches with most attention of the bag's
class from those with least (eq. 4–6); with subtyping, the most attended patches of the other
classes are negatives too.

Departure from the published code: the instance loss is cross-entropy, which is that code's
default, not the smooth top-1 SVM of the paper. A bag smaller than 2 · ``num_samples`` takes as many
patches as it has on each side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.mil.methods.attention import GatedAttention, parts_of, pool
from tcssa.mil.methods.base import BagClassifier, BagsLogits, PatchParts
from tcssa.mil.methods.pooling import embedding

BAG_WEIGHT = 0.7
"""The paper's c1: weight of the bag's loss in the sum."""


class CLAM(BagClassifier):
    """Clustering-constrained attention MIL.

    Args:
        feature_dim: D.
        num_classes: C.
        multi_branch: An attention branch for each class (CLAM-MB).
        embed_dim: Width of the embedding.
        attention_dim: Rows of the attention's V and U.
        num_samples: Patches taken from each end of the attention.
        subtyping: Classes exclude each other, so other classes' attention is evidence too.
        dropout: In embedding and attention.
    """

    only_classes = True  # its instance loss needs the bag's class

    def __init__(
        self,
        feature_dim: int,
        num_classes: int,
        *,
        multi_branch: bool,
        embed_dim: int = 512,
        attention_dim: int = 256,
        num_samples: int = 8,
        subtyping: bool = True,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.num_classes, self.multi_branch = num_classes, multi_branch
        self.num_samples, self.subtyping = num_samples, subtyping
        self.embed = embedding(feature_dim, embed_dim, dropout)
        branches = num_classes if multi_branch else 1
        self.attention = GatedAttention(embed_dim, attention_dim, branches, dropout)
        self.out = nn.Parameter(torch.empty(num_classes, embed_dim))
        self.out_bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.xavier_normal_(self.out)
        self.instance = nn.ModuleList(nn.Linear(embed_dim, 2) for _ in range(num_classes))

    def forward(self, bags: Sequence[Tensor], labels: Tensor | None = None) -> BagsLogits:
        """See `BagClassifier.forward`; with labels the instance loss is part of the output."""
        logits, losses = [], []
        for index, bag in enumerate(bags):
            hidden = self.embed(bag.float())
            scores = self.attention(hidden)
            pooled = pool(scores, hidden)  # [1 or C, embed_dim], one row for all or each class
            logits.append((pooled * self.out).sum(dim=1) + self.out_bias)
            if labels is not None:
                losses.append(self.instance_loss(scores, hidden, int(labels[index])))
        extra = torch.stack(losses).mean() if losses else None
        return BagsLogits(torch.stack(logits), extra)

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
        """See `BagClassifier.by_patch`; attention, of the class's branch, times own logits."""
        hidden = self.embed(bag)
        return parts_of(self.attention(hidden), hidden @ self.out.T + self.out_bias)

    def loss(self, output: BagsLogits, labels: Tensor) -> Tensor:
        """See `BagClassifier.loss`; this is c1 · bag loss + (1 − c1) · instance loss."""
        bag_loss = self.task.loss(output.logits.float(), labels)
        assert output.extra_loss is not None  # labels were given
        return BAG_WEIGHT * bag_loss + (1 - BAG_WEIGHT) * output.extra_loss

    def instance_loss(self, scores: Tensor, hidden: Tensor, label: int) -> Tensor:
        """Compute the clustering loss of one bag, 0-dim.

        Args:
            scores: Attention before the softmax, [1 or C, N].
            hidden: Embedded patches, [N, embed_dim].
            label: The bag's class.
        """
        count = min(self.num_samples, len(hidden))
        total = hidden.new_zeros(())
        for index, classifier in enumerate(self.instance):
            own = scores[index if self.multi_branch else 0]
            most = own.topk(count).indices
            if index == label:
                least = (-own).topk(count).indices
                patches = torch.cat([most, least])
                targets = torch.arange(2 * count, device=hidden.device) < count
            elif self.subtyping:
                patches, targets = most, torch.zeros(count, device=hidden.device)
            else:
                continue
            total = total + F.cross_entropy(classifier(hidden[patches]), targets.long())
        return total / self.num_classes if self.subtyping else total
