"""The slot compressor: route, average, refine.

TC-SSA compresses a bag of N patch features into K slots: z = W_g x + b_g, P = softmax(z), the
top two kept (not renormalised), c_k = Σ_j P̃_jk x_j / Σ_j P̃_jk, y_k = expert_k(c_k). Where the
model has a salience a_j (`tcssa.compressor.router`), P̃_jk a_j stands for P̃_jk in all sums. A
model with places adds to each c_k what it makes of where the slot's patches lie
(`tcssa.compressor.place_map`).

Departures from the published code, none of which changes the results of real patches: padding is
never routed (a bag is its real patches, padding does not exist here), ties never take a third slot,
an empty slot is guarded by construction instead of by δ.

Shapes: B bags, N patches, D features, K slots, T = top_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tcssa.compressor import fused
from tcssa.compressor.balance import RoutingSums
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.experts import SlotExperts
from tcssa.compressor.place_map import PlaceMap
from tcssa.compressor.router import Router, salient
from tcssa.compressor.state import SlotState
from tcssa.errors import NonFiniteFeatureError, ShapeError
from tcssa.moments import NEEDS_PLACES, SlotMoments

CHUNK_PATCHES = 2048
"""Patches that inference works on at once: 8 MB of float32 at D = 1024, which stays in cache
between the gate and the weighted sum, so that features are read from memory once."""


@dataclass(frozen=True)
class CompressorOutput:
    """Result of compressing a batch of bags."""

    slots: Tensor
    """[B, K, D]."""
    mass: Tensor
    """Σ P̃ a of each slot, [B, K], float32; 0 marks an empty slot."""
    assignments: Tensor
    """The slots of each patch, most probable first, [B, N, T], int64; -1 for padding."""
    weights: Tensor
    """Their routing probabilities P̃, [B, N, T], float32; 0 for padding."""
    routing: RoutingSums
    """Sums over all real patches: the balance loss and slot utilisation."""
    salience: Tensor | None = None
    """Factor a of each patch, [B, N], float32, 0 for padding; None where the model has none."""

    @property
    def aux_loss(self) -> Tensor:
        """The balance loss over all real patches, 0-dim, float32."""
        return self.routing.balance_loss()


@dataclass(frozen=True)
class BagsOutput:
    """Result of compressing bags of different sizes."""

    slots: Tensor
    """[B, K, D]; with a nested budget [B, K', D]."""
    mass: Tensor
    """Σ P̃ a of each slot, [B, K] or [B, K'], float32; 0 marks an empty slot."""
    assignments: list[Tensor]
    """For each bag the slots of its patches, most probable first, [N, T], int64."""
    weights: list[Tensor]
    """For each bag their routing probabilities P̃, [N, T], float32."""
    routing: RoutingSums
    """Sums over all patches: the balance loss and slot utilisation."""
    salience: list[Tensor] | None = None
    """For each bag the factor a of its patches, [N], float32; None where the model has none."""

    @property
    def aux_loss(self) -> Tensor:
        """The balance loss over all patches, 0-dim, float32."""
        return self.routing.balance_loss()


class Aggregate(NamedTuple):
    """The sums and the routing of one bag."""

    state: SlotState
    """The bag's contribution to the sums of its slide."""
    assignments: Tensor
    """The slots of its patches, most probable first, [N, T], int64."""
    weights: Tensor
    """Their routing probabilities P̃, [N, T], float32."""
    routing: RoutingSums
    salience: Tensor | None
    """Factor a of each patch, [N], float32; None where the model has none."""


class SlotCompressor(nn.Module):
    """Compresses bags of patch features into K slots each.

    Args:
        config: Configuration of the model.
    """

    fused = True
    """Use the fused kernel where it can run (docs/gpu.md); False: plain torch always."""

    def __init__(self, config: CompressorConfig) -> None:
        super().__init__()
        self.config = config
        self.router = Router(
            config.feature_dim,
            config.num_slots,
            config.top_k,
            config.noise_std,
            has_salience=config.salience,
        )
        self.experts = SlotExperts(
            config.num_slots, config.feature_dim, config.hidden_dim, config.dropout
        )
        self.places = PlaceMap(config.num_slots, config.feature_dim) if config.spatial else None

    def forward(
        self, features: Tensor, mask: Tensor | None = None, coords: Tensor | None = None
    ) -> CompressorOutput:
        """Compress one batch of bags.

        A bag's result is the same alone, in any batch and in any order of its patches. Features of
        padding are never read.

        Args:
            features: Patch features [B, N, D], of any floating type.
            mask: True where a patch is real, [B, N]; None means all are.
            coords: Where patches lie, (x, y) in µm, [B, N, 2]; a model with places needs them, any
                other ignores them.

        Raises:
            ShapeError: The shapes of features, mask, coords and model disagree, or coords are
                needed and missing.
            NonFiniteFeatureError: A real patch has a NaN or an infinity; the error names bag and
                row.
        """
        self._check_features(features, num_dims=3)
        if coords is not None and coords.shape != (*features.shape[:2], 2):
            raise ShapeError(f"coords must be {[*features.shape[:2], 2]}, got {list(coords.shape)}")
        if mask is None:
            output = self.compress(list(features), coords=None if coords is None else list(coords))
            assignments, weights = torch.stack(output.assignments), torch.stack(output.weights)
            salience = None if output.salience is None else torch.stack(output.salience)
        else:
            _check_mask(mask, features)
            places = None
            if coords is not None:
                places = [
                    each[real.to(each.device)] for each, real in zip(coords, mask, strict=True)
                ]
            try:
                output = self.compress(
                    [bag[real] for bag, real in zip(features, mask, strict=True)], coords=places
                )
            except NonFiniteFeatureError as error:
                row = int(mask[error.bag or 0].nonzero()[error.row, 0])
                raise NonFiniteFeatureError(row, bag=error.bag) from None
            shape = (*mask.shape, self.config.top_k)
            assignments = torch.full(shape, -1, dtype=torch.int64, device=features.device)
            weights = torch.zeros(shape, device=features.device)
            assignments[mask] = torch.cat(output.assignments)
            weights[mask] = torch.cat(output.weights)
            salience = None
            if output.salience is not None:
                salience = torch.zeros(mask.shape, device=features.device)
                salience[mask] = torch.cat(output.salience)
        return CompressorOutput(
            output.slots, output.mass, assignments, weights, output.routing, salience
        )

    def compress(
        self,
        bags: Sequence[Tensor],
        budget: int | None = None,
        coords: Sequence[Tensor] | None = None,
    ) -> BagsOutput:
        """Compress bags of any sizes at once, without padding and without copying them.

        Args:
            bags: Patch features of each bag, [N, D].
            budget: Number K' of slots per bag, of a nested model; None: all K. Assignments refer to
                the K slots in either case.
            coords: Where the patches of each bag lie, (x, y) in µm, [N, 2]; a model with places
                needs them, any other ignores them.

        Raises:
            ShapeError: There is no bag, a bag's shape and the model's disagree, the model has no
                such budget, or coords are needed and missing.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the error names bag and row.
        """
        parts = self.aggregate(bags, coords)
        states = [self.folded(part.state, budget) for part in parts]
        return BagsOutput(
            slots=self.refine(states),
            mass=torch.stack([state.mass for state in states]),
            assignments=[part.assignments for part in parts],
            weights=[part.weights for part in parts],
            routing=reduce(RoutingSums.merge, [part.routing for part in parts]),
            salience=[part.salience for part in parts if part.salience is not None] or None,
        )

    def aggregate(
        self, bags: Sequence[Tensor], coords: Sequence[Tensor] | None = None
    ) -> list[Aggregate]:
        """Run the first half of `compress`: sum up every bag, without the experts.

        Args:
            bags: Patch features of each bag, or of each chunk of one, [N, D].
            coords: See `compress`.

        Raises:
            ShapeError: There is no bag, or a bag's shape and the model's disagree.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the error names bag and row.
        """
        if not bags:
            raise ShapeError("the batch holds no bag")
        for bag in bags:
            self._check_features(bag, num_dims=2)
        if coords is not None and [len(each) for each in coords] != [len(bag) for bag in bags]:
            raise ShapeError("coords must be [N, 2] of each bag, one row a patch")
        if self._is_fused(bags):
            parts = self._aggregate_fused(bags)
        else:
            parts = []
            for index, bag in enumerate(bags):
                try:
                    parts.append(self._aggregate(bag))
                except NonFiniteFeatureError as error:
                    raise NonFiniteFeatureError(error.row, bag=index) from None
        if self.places is None or coords is None:
            return parts
        return [self.placed(part, at, mpp=1.0) for part, at in zip(parts, coords, strict=True)]

    def start(self) -> SlotState:
        """Return the state of a slide before any of its patches is seen."""
        return SlotState.empty(
            self.config.num_slots, self.config.feature_dim, self.router.gate.weight.device
        )

    @torch.no_grad()
    def update(
        self,
        state: SlotState,
        features: Tensor,
        coords: Tensor | None = None,
        mpp: float | None = None,
    ) -> SlotState:
        """Add patches to a slide's state.

        Args:
            state: What `start`, an earlier `update` or `SlotState.merge` returned.
            features: More patches of the slide, [N, D].
            coords: Their top-left corners (x, y) in level-0 pixels, [N, 2]. A slide that is given
                any patches without coordinates has no footprint.
            mpp: Microns per level-0 pixel, above 0; a model with places needs it.

        Raises:
            ShapeError: The shapes of state, features, coords and model disagree, or mpp is not that
                of the earlier patches.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the row counts over all patches
                that this state has seen.
        """
        self._check_features(features, num_dims=2)
        if coords is not None and coords.shape != (len(features), 2):
            raise ShapeError(f"coords must be [{len(features)}, 2], got {list(coords.shape)}")
        try:
            (part,) = self.aggregate([features])
        except NonFiniteFeatureError as error:
            raise NonFiniteFeatureError(state.num_patches + error.row) from None
        if coords is not None:
            part = self.placed(part, coords, mpp)
        return state.merge(part.state)

    def folded(self, state: SlotState, budget: int | None) -> SlotState:
        """Fold a slide's sums into those of fewer slots; None leaves them as they are.

        Args:
            state: The sums of a slide over K slots.
            budget: K', one of the model's budgets; None for all K.

        Raises:
            ShapeError: The model has no such budget.
        """
        if budget is None or budget == self.config.num_slots:
            return state
        if budget not in self.config.budgets:
            known = ", ".join(map(str, self.config.budgets))
            raise ShapeError(f"this compressor gives {known} slots, not {budget}")
        return state.fold(budget)

    @torch.no_grad()
    def finish(self, state: SlotState) -> Tensor:
        """Refine a slide's sums into its slots [K, D], or folded ones into [K', D].

        Raises:
            ShapeError: The model has places, and patches came without coordinates in µm.
        """
        return self.refine([state]).squeeze(0)

    def refine(self, states: Sequence[SlotState]) -> Tensor:
        """Refine the sums of slides into their slots, [B, K, D], or [B, K', D] of folded ones.

        Works in float32 under any autocast: the cost of the experts is the reading of their
        weights, and an autocast that copies them first costs more than it saves.

        Raises:
            ShapeError: The model has places, and patches came without coordinates in µm.
        """
        centers_BKD = torch.stack([state.centers() for state in states])
        with torch.autocast(centers_BKD.device.type, enabled=False):
            centers_BKD = centers_BKD.float()
            if self.places is not None:
                vectors = torch.stack([_vectors(state) for state in states])
                centers_BKD = centers_BKD + self.places(vectors.to(centers_BKD.device))
            slots: Tensor = self.experts(centers_BKD)
        return slots

    def placed(self, part: Aggregate, coords: Tensor, mpp: float | None) -> Aggregate:
        """Add the moments of a bag's coordinates; no gradient goes through them to the gate.

        Args:
            part: The sums and the routing of the bag.
            coords: Where its patches lie (x, y), [N, 2].
            mpp: Microns per unit of the coordinates; None where it is not known.
        """
        weights = salient(part.weights, part.salience)
        moments = SlotMoments.of(
            part.assignments.cpu().numpy(),
            weights.detach().cpu().numpy(),
            coords.cpu().numpy(),
            self.config.num_slots,
            mpp,
        )
        return part._replace(state=replace(part.state, footprint=moments))

    def _aggregate(self, features: Tensor) -> Aggregate:
        """Route and sum up one bag [N, D].

        Without gradients the bag streams through in chunks and nothing of size [N, K] or [N, D]
        is ever made; with gradients it is one chunk, since autograd would keep them all anyway.
        """
        if len(features) == 0:
            return self._nothing(features.device)
        chunk_patches = len(features) if torch.is_grad_enabled() else CHUNK_PATCHES
        parts = None
        assignments, weights, salience = [], [], []
        for begin in range(0, len(features), chunk_patches):
            chunk = slice(begin, begin + chunk_patches)
            rows = features[chunk].float()  # once, for the gate and for the sum
            try:
                routing = self.router(rows)
            except NonFiniteFeatureError as error:
                raise NonFiniteFeatureError(begin + error.row) from None
            dense = routing.dense_weights()
            state = SlotState(
                weighted_sum=dense.T @ rows,
                mass=dense.sum(dim=0),
                num_patches=len(dense),
            )
            sums = RoutingSums.of(routing)
            parts = (
                (state, sums) if parts is None else (parts[0].merge(state), parts[1].merge(sums))
            )
            assignments.append(routing.indices_NT)
            weights.append(routing.weights_NT)
            salience += [] if routing.salience_N is None else [routing.salience_N]
        assert parts is not None
        return Aggregate(
            parts[0],
            torch.cat(assignments),
            torch.cat(weights),
            parts[1],
            torch.cat(salience) if salience else None,
        )

    def _is_fused(self, bags: Sequence[Tensor]) -> bool:
        """Tell whether the fused kernel runs these bags; it cannot add noise to the logits."""
        has_noise = self.training and self.router.noise_std > 0
        num_slots, top_k = self.config.num_slots, self.config.top_k
        return self.fused and not has_noise and fused.takes(bags, num_slots, top_k)

    def _aggregate_fused(self, bags: Sequence[Tensor]) -> list[Aggregate]:
        """Route and sum up all bags in one launch."""
        gate = self.router.gate
        line = None if self.router.salience is None else self.router.salience.line()
        sums = fused.fused_sums(bags, gate.weight, gate.bias, self.config.top_k, line)
        lengths = [len(bag) for bag in bags]
        all_indices, all_weights = (
            torch.split(values, lengths) for values in (sums.indices, sums.weights)
        )
        has_none: list[Tensor | None] = [None] * len(bags)
        all_salience = has_none if line is None else torch.split(sums.salience, lengths)
        parts = []
        for i, (indices, weights, salience) in enumerate(
            zip(all_indices, all_weights, all_salience, strict=True)
        ):
            state = SlotState(sums.weighted_sum[i], sums.mass[i], lengths[i])
            routing = RoutingSums(sums.probs[i], sums.counts[i], sums.logsumexp[i], lengths[i])
            parts.append(Aggregate(state, indices, weights, routing, salience))
        return parts

    def _nothing(self, device: torch.device) -> Aggregate:
        """Return the sums and the routing of a bag without patches."""
        top_k, num_slots = self.config.top_k, self.config.num_slots
        nowhere = torch.empty(0, top_k, dtype=torch.int64, device=device)
        weightless = torch.empty(0, top_k, device=device)
        none = torch.empty(0, device=device) if self.config.salience else None
        sums = RoutingSums.empty(num_slots, device)
        return Aggregate(self.start(), nowhere, weightless, sums, none)

    def _check_features(self, features: Tensor, num_dims: int) -> None:
        expected = ["B", "N", str(self.config.feature_dim)][3 - num_dims :]
        if features.dim() != num_dims or features.shape[-1] != self.config.feature_dim:
            raise ShapeError(
                f"features must be [{', '.join(expected)}], got {list(features.shape)}"
            )
        if not features.is_floating_point():
            raise ShapeError(f"features must be floating point, got {features.dtype}")


def _vectors(state: SlotState) -> Tensor:
    if state.footprint is None:
        raise ShapeError(NEEDS_PLACES)
    return torch.from_numpy(state.footprint.vectors())


def _check_mask(mask: Tensor, features: Tensor) -> None:
    if mask.shape != features.shape[:2] or mask.dtype != torch.bool:
        raise ShapeError(
            f"the mask must be torch.bool {list(features.shape[:2])}, "
            f"got {mask.dtype} {list(mask.shape)}"
        )
