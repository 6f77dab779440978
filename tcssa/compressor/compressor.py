"""The slot compressor: route, average, refine.

TC-SSA compresses a bag of N patch features into K slots: z = W_g x + b_g, P = softmax(z), the
top two kept (not renormalised), c_k = Σ_j P̃_jk x_j / Σ_j P̃_jk, y_k = expert_k(c_k). Where the
model has a salience a_j (`tcssa.compressor.router`), P̃_jk a_j stands for P̃_jk in all sums. A
model with places adds to each c_k what it makes of where the slot's patches lie
(`tcssa.compressor.place_map`). A model may embed its patches first
(`tcssa.compressor.embedding`); then x is the embedded patch everywhere above.

Departures from the published code, none of which changes the results of real patches: padding is
never routed (a bag is its real patches, padding does not exist here), ties never take a third slot,
an empty slot is guarded by construction instead of by δ.

Shapes: B bags, N patches, P features of a patch, D of a slot (P = D without an embedding), K slots,
T = top_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from tcssa.compressor import fused
from tcssa.compressor.aggregation import Aggregate, fused_sums_of, plain_sums_of
from tcssa.compressor.balance import RoutingSums
from tcssa.compressor.config import CompressorConfig
from tcssa.compressor.embedding import PatchEmbedding
from tcssa.compressor.experts import SlotExperts
from tcssa.compressor.outputs import BagsOutput, CompressorOutput
from tcssa.compressor.place_map import PlaceMap
from tcssa.compressor.router import Router
from tcssa.compressor.state import SlotState
from tcssa.errors import NonFiniteFeatureError, ShapeError
from tcssa.moments import NEEDS_PLACES


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
        self.embed = None
        if config.embedded_from is not None:
            self.embed = PatchEmbedding(config.embedded_from, config.feature_dim)

    def forward(
        self, features: Tensor, mask: Tensor | None = None, coords: Tensor | None = None
    ) -> CompressorOutput:
        """Compress one batch of bags, or one bag.

        A bag's result is the same alone, in any batch and in any order of its patches. Features of
        padding are never read.

        Args:
            features: Patch features [B, N, P], of any floating type; or those of one bag, [N, P],
                for which mask, coords and all results have no first axis either.
            mask: True where a patch is real, [B, N]; None means all are.
            coords: Where patches lie, (x, y) in µm, [B, N, 2]; a model with places needs them, any
                other ignores them.

        Raises:
            ShapeError: The shapes of features, mask, coords and model disagree, or coords are
                needed and missing.
            NonFiniteFeatureError: A real patch has a NaN or an infinity; the error names bag and
                row.
        """
        if features.dim() == 2:
            return self.forward(
                features[None],
                None if mask is None else mask[None],
                None if coords is None else coords[None],
            ).of_bag(0)
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
            bags: Patch features of each bag, [N, P].
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
            bags: Patch features of each bag, or of each chunk of one, [N, P].
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
            parts = fused_sums_of(self.router, bags)
        else:
            parts = []
            for index, bag in enumerate(bags):
                try:
                    parts.append(plain_sums_of(self.router, bag, self.embed))
                except NonFiniteFeatureError as error:
                    raise NonFiniteFeatureError(error.row, bag=index) from None
        if self.places is None or coords is None:
            return parts
        return [part.placed(at, mpp=1.0) for part, at in zip(parts, coords, strict=True)]

    def embedded(self, patches: Tensor) -> Tensor:
        """Return patches as gate and salience see them.

        Args:
            patches: Patch features [N, P].

        Returns:
            The embedded patches [N, D], or the same ones if the model has no embedding.

        Raises:
            NonFiniteFeatureError: An embedded patch has a NaN or an infinity.
        """
        return patches if self.embed is None else self.embed(patches)

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
            features: More patches of the slide, [N, P].
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
            part = part.placed(coords, mpp)
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

    def _is_fused(self, bags: Sequence[Tensor]) -> bool:
        """Tell whether the fused kernel runs these bags.

        It adds no noise to the logits, and embedded patches are float32, which it is not for.
        """
        if not self.fused or self.embed is not None:
            return False
        has_noise = self.training and self.router.noise_std > 0
        return not has_noise and fused.takes(bags, self.config.num_slots, self.config.top_k)

    def _check_features(self, features: Tensor, num_dims: int) -> None:
        expected = ["B", "N", str(self.config.patch_dim)][3 - num_dims :]
        if features.dim() != num_dims or features.shape[-1] != self.config.patch_dim:
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
