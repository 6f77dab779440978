"""The compressor and its heads as graphs that export well.

`tcssa.SlotCompressor` packs bags and streams them, which no graph can. These modules compute the
same on a padded batch, with the weights of the same model:

- `PartialGraph`: patches to the weighted mean and the mass of every slot. mean · mass are the sums
  that make aggregation a monoid: of several chunks they add up to the slide's.
- `FinishGraph`: means to slots, and to the outputs of heads that take slots: logits, tokens. Heads
  that pool by mass take the masses too.
- `FullGraph`: one after the other, for whole bags.
- `PlacesGraph`: positions of slots, for a full graph of a model with places. For a chunked pair the
  host sums up the moments, in float64, and ``finish`` takes them.

Choices made for the tools that run the graphs:

- An empty slot is guarded by `where`, not by a δ in the denominator: ONNX optimisers take a
  scalar within 1e-8 of zero for zero and fold its addition away.
- The weights are normalised *before* the product with the features. After it, TensorRT copies
  the features: 3.5 GB of scratch memory at B = 8, N = 100,000. For the same reason a chunk gives
  a mean and not a sum.
- A softmax is never materialised; only the chosen slots' probabilities are. That brings the
  scratch memory at that size from 416 MB to 246 MB.
- The mass is a matrix product, not a sum: ONNX Runtime sums over patches one after another in
  float32, which is off by 1e-4 at N = 20,000 and by 1e-3 at N = 500,000, and with it the slots.
- The gate, and an embedding before it, are float32 whatever the rest is; see
  `tcssa_exporters.precision`.

Contract on padding: the rows beyond ``lengths`` may hold any finite values (0 × NaN is NaN). The
runtimes set these rows to zero.

Shapes: B bags or chunks, N patches, P features of a patch, D as the gate sees it, K slots,
T = top_k, W waves, M moments of a place.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa import SlotCompressor
from tcssa.compressor.experts import SlotExperts
from tcssa.compressor.place_map import PlaceMap
from tcssa.compressor.router import MAX_LOGIT, Salience
from tcssa.moments import UNIT_UM, WAVELENGTHS_UM, WAVES
from tcssa_exporters.experts import WeightsFirstExperts

_SUBNORMAL_FREE_PATCHES = 8192
"""Equal shares of this many patches are 1.2e-4; float16 has full precision down to 6e-5."""


class Pooling(nn.Module):
    """Weighted means of patches, with the product in one number format.

    Args:
        dtype: float32, or bfloat16, which has the range of float32.
        features_first: Multiply xᵀ P̃ and turn the result, instead of P̃ᵀ x. ONNX Runtime packs the
            right-hand side of a product, so on a CPU this takes a fifth less time than to pack the
            features; TensorRT copies features that stand on the left.
    """

    def __init__(self, dtype: torch.dtype, *, features_first: bool) -> None:
        super().__init__()
        self.dtype = dtype
        self.features_first = features_first

    def forward(self, share_BNK: Tensor, features_BND: Tensor, lengths_B: Tensor) -> Tensor:
        """Compute the weighted means of patches in every slot.

        Args:
            share_BNK: Weights of the patches, which add up to 1 in every slot that is not empty.
            features_BND: Patch features.
            lengths_B: Patches of each bag, int64.

        Returns:
            Means [B, K, D], float32.
        """
        shares, features = share_BNK.to(self.dtype), features_BND.to(self.dtype)
        if self.features_first:
            return (features.transpose(1, 2) @ shares).transpose(1, 2).float()
        return (shares.transpose(1, 2) @ features).float()


class HalfPooling(Pooling):
    """`Pooling` in float16, which has few numbers below 6e-5 and none below 6e-8.

    The shares of a bag of 100,000 patches are about 1e-5, where float16 would round them to one
    part in three hundred, and small ones would vanish. So a large bag's shares are scaled up, until
    those of equal patches are 2^-13, and its means are scaled down again in float32. The scaled
    means must fit into float16 too: up to 65504 at 8192 patches, up to 4094 at 131,072.
    """

    def __init__(self, *, features_first: bool) -> None:
        super().__init__(torch.float16, features_first=features_first)

    def forward(self, share_BNK: Tensor, features_BND: Tensor, lengths_B: Tensor) -> Tensor:
        """See `Pooling.forward`."""
        scale_B11 = (lengths_B.float() / _SUBNORMAL_FREE_PATCHES).clamp(min=1).view(-1, 1, 1)
        return super().forward(share_BNK * scale_B11, features_BND, lengths_B) / scale_B11


class PartialGraph(nn.Module):
    """The graph that turns patches into the mean and the mass of every slot.

    Args:
        gate: The router's Linear(D, K), float32.
        top_k: Number of slots that a patch goes to.
        pooling: Computes the means.
        salience: The router's salience, float32; None if the model has none.
        embed: The linear layer of the patches' embedding, float32; None if the model has none.
    """

    slot_ids: Tensor
    num_members = 1

    def __init__(
        self,
        gate: nn.Linear,
        top_k: int,
        pooling: Pooling,
        salience: Salience | None = None,
        embed: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.embed = embed
        self.gate = gate
        self.salience = salience
        self.top_k = top_k
        self.pooling = pooling
        # a buffer must not have the name of an output: ONNX has one name space for both
        self.register_buffer("slot_ids", torch.arange(gate.out_features))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Sum up a padded batch of bags, or of chunks of bags.

        Args:
            features: Patch features [B, N, P]; finite in every row, padding included.
            lengths: Patches of each bag, [B], int64; 0 to N.

        Returns:
            Mean [B, K, D], 0 for an empty slot; mass [B, K]; assignments [B, N, T] (int64, most
            probable first, -1 for padding); weights [B, N, T] (0 for padding); and of a model with
            salience that of each patch, [B, N] (0 for padding).
        """
        real_BN1 = (torch.arange(features.shape[1]) < lengths.unsqueeze(1)).unsqueeze(2)
        if self.embed is not None:
            features = F.linear(features.float(), self.embed.weight, self.embed.bias).relu()
        logits_BNK = self.gate(features.float())
        chosen_BNT = self._largest(logits_BNK)
        weights_BNT = torch.where(real_BN1, _probabilities(logits_BNK, chosen_BNT), 0.0)
        salience_BN = None
        if self.salience is not None:
            salience_BN = torch.where(
                real_BN1.squeeze(2), _salience_of(self.salience, features.float()), 0.0
            )
        counted_BNT = weights_BNT
        if salience_BN is not None:
            counted_BNT = weights_BNT * salience_BN.unsqueeze(2)
        dense_BNK = self.spread(chosen_BNT, counted_BNT)
        mass_BK = (real_BN1.to(dense_BNK.dtype).transpose(1, 2) @ dense_BNK).squeeze(1)
        share_BNK = dense_BNK / torch.where(mass_BK > 0, mass_BK, 1.0).unsqueeze(1)
        mean_BKD = self.pooling(share_BNK, features, lengths)
        routing = (mean_BKD, mass_BK, torch.where(real_BN1, chosen_BNT, -1), weights_BNT)
        return routing if salience_BN is None else (*routing, salience_BN)

    def _largest(self, logits_BNK: Tensor) -> Tensor:
        """Find the slots [B, N, T] of the largest logits; the lower wins a tie, as in `Router`."""
        remaining = logits_BNK
        chosen = [remaining.argmax(dim=2, keepdim=True)]
        while len(chosen) < self.top_k:
            remaining = torch.where(chosen[-1] == self.slot_ids, float("-inf"), remaining)
            chosen.append(remaining.argmax(dim=2, keepdim=True))
        return torch.cat(chosen, dim=2)

    def spread(self, chosen_BNT: Tensor, weights_BNT: Tensor) -> Tensor:
        """Spread the weights of the chosen slots over all slots.

        Args:
            chosen_BNT: Slots of each patch, int64, 0 to K - 1.
            weights_BNT: Weight of each patch in each of them.

        Returns:
            Weights [B, N, K], 0 for slots that a patch does not go to.
        """
        dense_BNK = torch.where(chosen_BNT[:, :, :1] == self.slot_ids, weights_BNT[:, :, :1], 0.0)
        for t in range(1, self.top_k):
            goes_there = chosen_BNT[:, :, t : t + 1] == self.slot_ids
            dense_BNK = torch.where(goes_there, weights_BNT[:, :, t : t + 1], dense_BNK)
        return dense_BNK


class FinishGraph(nn.Module):
    """The graph that turns the means of slots into slots and the outputs of heads.

    Args:
        experts: `SlotExperts` or `WeightsFirstExperts`, in the number format to compute in.
        heads: Modules by output name; they take slots [S, K, D] in the same format, and those whose
            attribute ``needs_mass`` is True take the masses [S, K] too.
        places: The model's place map, float32; None if the model has none.
    """

    def __init__(
        self,
        experts: SlotExperts | WeightsFirstExperts,
        heads: Mapping[str, nn.Module],
        places: PlaceMap | None = None,
    ) -> None:
        super().__init__()
        self.experts = experts
        self.places = places
        self.heads = nn.ModuleList(heads.values())
        self.needs_mass = any(takes_mass(head) for head in heads.values())
        self.dtype = experts.w_in.dtype

    def forward(
        self, mean: Tensor, mass: Tensor | None = None, moments: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Refine means [S, K, D], float32, into slots of the same shape and the heads' outputs.

        Args:
            mean: Mean of each slot, 0 for an empty one.
            mass: Mass of each slot, [S, K], float32; needed if a head takes it.
            moments: Moments of each slot's place, [S, K, M], float32; needed if the model has
                places.
        """
        if self.places is not None:
            mean = mean + self.places(moments)
        slots = self.experts(mean.to(self.dtype))
        outputs = (head(slots, mass) if takes_mass(head) else head(slots) for head in self.heads)
        return slots.float(), *(output.float() for output in outputs)


def takes_mass(head: nn.Module) -> bool:
    """Tell whether a head takes masses beside slots."""
    return bool(getattr(head, "needs_mass", False))


class Partial(Protocol):
    """A graph that turns patches into means: `PartialGraph`, or those of an ensemble's members."""

    num_members: int
    """Models whose slots stand side by side."""

    def __call__(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """See `PartialGraph.forward`."""

    def spread(self, chosen_BNT: Tensor, weights_BNT: Tensor) -> Tensor:
        """See `PartialGraph.spread`."""


class FullGraph(nn.Module):
    """`PartialGraph` and `FinishGraph` in one pass over whole bags.

    Args:
        partial: Turns patches into means.
        finish: Turns means into slots and the outputs of heads.
    """

    def __init__(self, partial: Partial, finish: FinishGraph) -> None:
        super().__init__()
        self.partial = partial
        self.finish = finish
        self.places = None if finish.places is None else PlacesGraph()

    def forward(
        self, features: Tensor, lengths: Tensor, coords: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Compress a padded batch of bags; see `PartialGraph.forward`.

        Args:
            features: Patch features [B, N, P]; finite in every row, padding included.
            lengths: Patches of each bag, [B], int64; 0 to N.
            coords: Positions of patches, (x, y) in µm, [B, N, 2], float32 and finite; needed if the
                model has places.

        Returns:
            Slots [B, K, D], mass, assignments, weights, salience if the model has one, and the
            outputs of the heads.
        """
        mean, mass, *routing = self.partial(features, lengths)
        moments = None
        if self.places is not None and coords is not None:
            assignments, weights = routing[0].clamp(min=0), routing[1]
            counted = weights if len(routing) == 2 else weights * routing[2].unsqueeze(2)
            dense, count = self.partial.spread(assignments, counted), self.partial.num_members
            # each member has a mass centre of its own
            of_each = zip(dense.chunk(count, dim=2), mass.chunk(count, dim=1), strict=True)
            moments = torch.cat([self.places(*weights, coords) for weights in of_each], dim=1)
        slots, *heads = self.finish(mean, mass if self.finish.needs_mass else None, moments)
        return slots, mass, *routing, *heads


class PlacesGraph(nn.Module):
    """The vectors of `tcssa.moments.SlotMoments` as a graph, in float32."""

    waves: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", torch.from_numpy(WAVES).float())

    def forward(self, dense_BNK: Tensor, mass_BK: Tensor, coords_BN2: Tensor) -> Tensor:
        """Compute the moments of each slot that a model with places takes.

        Args:
            dense_BNK: Weight of each patch in each slot, 0 for padding.
            mass_BK: Sums of the weights over patches.
            coords_BN2: Positions in µm, relative to a point near the slide's middle so that float32
                is exact enough.

        Returns:
            Moments [B, K, M]; 0 for an empty slot.
        """
        is_held = (mass_BK > 0).unsqueeze(2)
        divisor_B1K = torch.where(mass_BK > 0, mass_BK, 1.0).unsqueeze(1)
        share_BKN = (dense_BNK / divisor_B1K).transpose(1, 2)
        centroids = share_BKN @ coords_BN2
        total = mass_BK.sum(dim=1, keepdim=True)
        of_all = (mass_BK / torch.where(total > 0, total, 1.0)).unsqueeze(1)
        coords = coords_BN2 - of_all @ centroids  # about the mass centre: nothing is turned after
        centroids = share_BKN @ coords
        variance = share_BKN @ coords**2 - centroids**2
        phases_BNW = coords @ self.waves.T
        real, imaginary = share_BKN @ phases_BNW.cos(), share_BKN @ phases_BNW.sin()
        size = (real**2 + imaginary**2).sqrt()
        together = size.reshape(*size.shape[:2], len(WAVELENGTHS_UM), -1).mean(dim=3)
        spread = variance.clamp(min=0).sqrt()
        scaled = [centroids / UNIT_UM, spread / UNIT_UM]
        vectors = torch.cat([*scaled, real, imaginary, together], dim=2)
        return torch.where(is_held, vectors, 0.0)


def build_graphs(
    model: SlotCompressor,
    heads: Mapping[str, nn.Module],
    dtype: torch.dtype,
    *,
    for_onnx_runtime: bool = False,
) -> tuple[PartialGraph, FinishGraph]:
    """Build both halves of a model, in evaluation mode and on the CPU.

    Args:
        model: The compressor; it is copied and not changed.
        heads: Modules by output name, likewise.
        dtype: Number format of pooling, experts and heads; embedding and gate are always float32.
        for_onnx_runtime: Order the products as ONNX Runtime computes them fastest, which is of no
            use to TensorRT; see `Pooling` and `WeightsFirstExperts`.
    """
    model = copy.deepcopy(model).cpu().eval()
    if dtype == torch.float16:
        pooling: Pooling = HalfPooling(features_first=for_onnx_runtime)
    else:
        pooling = Pooling(dtype, features_first=for_onnx_runtime)
    router = model.router.float()
    embed = None if model.embed is None else model.embed.float()
    partial = PartialGraph(router.gate, model.config.top_k, pooling, router.salience, embed)
    copies = {name: copy.deepcopy(head).to("cpu", dtype) for name, head in heads.items()}
    experts = model.experts.to(dtype)
    places = None if model.places is None else model.places.float()
    finish = FinishGraph(
        WeightsFirstExperts(experts) if for_onnx_runtime else experts, copies, places
    )
    return partial.eval(), finish.eval()


def _salience_of(salience: Salience, features: Tensor) -> Tensor:
    """Compute the salience [B, N] of patches, whose sigmoid is spelt out.

    ONNX Runtime's Sigmoid is 0 from a logit of about -18 on, where salience still is 1e-8: a slot
    of such patches alone would lose them.
    """
    logits = features @ salience.weight[0].float() + salience.bias.float()
    return 2 / (1 + (-logits.clamp(-MAX_LOGIT, MAX_LOGIT)).exp())


def _probabilities(logits_BNK: Tensor, chosen_BNT: Tensor) -> Tensor:
    """Compute the softmax over K at the chosen slots, [B, N, T], of which the first is largest."""
    chosen_logits = logits_BNK.gather(2, chosen_BNT)
    largest = chosen_logits[:, :, :1]
    total = (logits_BNK - largest).exp().sum(dim=2, keepdim=True)
    return (chosen_logits - largest).exp() / total
