"""Outputs that torch computes on a batch: one model's, and those for a routing that is given.

Torch computes in float32 whatever the exported model's precision, on the features as that model
gets them: rounded to float16 if it takes float16.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import ParityError
from tcssa.moments import SlotMoments

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tcssa import SlotCompressor
    from tcssa_exporters.source import Member

UNDECIDED_MARGIN = 1e-4
"""Two logits closer than this, relative to the patch's largest (at least 1), are a tie."""

Outputs = dict[str, NDArray[Any]]
"""Outputs by name: slots [B, K, D], mass [B, K], assignments and weights [B, N, T], salience [B, N]
if the model has one, and the outputs of the heads."""


class TorchModel:
    """The torch model of one member.

    Args:
        member: Compressor and heads; they are copied to the CPU in float32 and not changed.
    """

    def __init__(self, member: Member) -> None:
        self.model: SlotCompressor = copy.deepcopy(member.compressor).float().cpu().eval()
        self.heads: Mapping[str, nn.Module] = {
            name: copy.deepcopy(head).float().cpu().eval() for name, head in member.heads.items()
        }

    def outputs(
        self,
        features: NDArray[Any],
        lengths: NDArray[np.int64],
        coords: NDArray[np.float64] | None,
    ) -> Outputs:
        """Compute the outputs for a padded batch.

        Args:
            features: The batch as the exported model gets it, [B, N, P].
            lengths: Patches of each bag, [B].
            coords: Positions in µm, [B, N, 2], of a model with places.
        """
        import torch

        mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
        with torch.no_grad():
            places = None if coords is None else torch.from_numpy(coords)
            output = self.model(torch.from_numpy(features), mask, places)
        return self._outputs(
            output.slots, output.mass, output.assignments, output.weights, output.salience
        )

    def logits(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Compute the gate's logits, [B, N, K], of a batch [B, N, P]."""
        import torch

        gate = self.model.router.gate
        with torch.no_grad():
            bags = [gate(torch.from_numpy(bag).float()) for bag in self._seen(features)]
        logits: NDArray[np.float32] = torch.stack(bags).numpy()
        return logits

    def rounding(self, features: NDArray[Any]) -> float:
        """Bound how far float32 logits alone may move a slot, whoever computes them.

        A slot is a mean of patches weighted by exponentials of their logits: an error δ of a logit
        is a relative error δ of a weight, and of softmax up to 2δ. Two patches with such weights
        differ by twice the largest feature at most, and torch and the exported model both err. This
        counts only where features are so large that logits are in the hundreds. Where the model
        embeds its patches, what it makes of them is rounded too.

        Args:
            features: The batch as the exported model gets it, [B, N, D].
        """
        import torch

        router, embed = self.model.router, self.model.embed
        seen = torch.from_numpy(self._seen(features)).float()
        lines = [(router.gate.weight, router.gate.bias, 2)]
        if router.salience is not None:
            lines.append((router.salience.weight, router.salience.bias, 1))
        error = off = 0.0
        with torch.no_grad():
            exact_seen = seen.double()
            if embed is not None:
                patches = torch.from_numpy(features).double()
                exact_seen = (patches @ embed.weight.double().T + embed.bias.double()).relu()
                off = float((seen - exact_seen).abs().amax())
            for weight, bias, times in lines:
                exact = exact_seen @ weight.double().T + bias.double()
                error += times * float((seen @ weight.T + bias - exact).abs().amax())
        return 4 * error * float(seen.abs().amax()) + 2 * off

    def outputs_of_routing(
        self,
        assignments: NDArray[np.int64],
        features: NDArray[Any],
        coords: NDArray[np.float64] | None,
    ) -> Outputs:
        """Compute the outputs for a given routing.

        Args:
            assignments: Slots of each patch, [B, N, T]; -1 for padding.
            features: See `outputs`.
            coords: See `outputs`.
        """
        import torch

        from tcssa.compressor.state import normalise

        logits, features = self.logits(features), self._seen(features)
        chosen = torch.from_numpy(assignments)
        probs = torch.from_numpy(logits).softmax(dim=2).gather(2, chosen.clamp(min=0))
        weights = torch.where(chosen < 0, 0.0, probs)
        salience, counted = None, weights
        if self.model.router.salience is not None:
            with torch.no_grad():
                salience = self.model.router.salience(torch.from_numpy(features).float())
            salience = torch.where(chosen[:, :, 0] < 0, 0.0, salience)
            counted = weights * salience.unsqueeze(2)
        dense = torch.zeros(logits.shape).scatter_add_(2, chosen.clamp(min=0), counted)
        sums = torch.stack(
            [
                w.double().T @ torch.from_numpy(bag).double()
                for w, bag in zip(dense, features, strict=True)
            ]
        )
        mass = dense.double().sum(dim=1)
        with torch.no_grad():
            centers = normalise(sums, mass).float()
            if self.model.places is not None and coords is not None:
                vectors = slot_vectors(assignments, counted.numpy(), coords, logits.shape[2])
                centers = centers + self.model.places(torch.from_numpy(vectors))
            slots = self.model.experts(centers)
        return self._outputs(slots, mass.float(), chosen, weights, salience)

    def require_undecided(
        self, chosen: NDArray[np.int64], logits: NDArray[np.float32], where: str
    ) -> None:
        """Raise unless each of these patches chose distinct slots that tie with torch's choice.

        Args:
            chosen: Slots of the patches that differ, [M, T].
            logits: Torch's logits, [M, K].
            where: The case, for errors.

        Raises:
            ParityError: A patch goes to fewer than T slots, or to one whose logit differs from that
                of torch's choice by `UNDECIDED_MARGIN` or more.
        """
        top_k = self.model.config.top_k
        if any(len(set(row)) < top_k for row in chosen.tolist()):
            raise ParityError(f"{where}: patches go to fewer than {top_k} slots each")
        # in the order of the choice, each slot's logit must tie with that of torch's choice
        best = -np.sort(-logits, axis=1)[:, :top_k]
        gap = np.abs(np.take_along_axis(logits, chosen, axis=1) - best).max(axis=1)
        gap /= np.maximum(1, np.abs(best).max(axis=1))
        decided = int((gap >= UNDECIDED_MARGIN).sum())
        if decided:
            raise ParityError(
                f"{where}: {decided} patches go to other slots than in torch, "
                f"with logits up to {float(gap.max()):.3g} apart"
            )

    def _seen(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return patches [B, N, D] as the gate sees them: embedded, if the model embeds them."""
        import torch

        if self.model.embed is None:
            return features
        with torch.no_grad():
            bags = [self.model.embedded(torch.from_numpy(bag)) for bag in features]
        seen: NDArray[Any] = torch.stack(bags).numpy()
        return seen

    def _outputs(
        self,
        slots: Tensor,
        mass: Tensor,
        assignments: Tensor,
        weights: Tensor,
        salience: Tensor | None,
    ) -> Outputs:
        """Return outputs as arrays, including those of the heads."""
        import torch

        from tcssa_exporters.graph import takes_mass

        with torch.no_grad():
            made = {
                name: head(slots, mass) if takes_mass(head) else head(slots)
                for name, head in self.heads.items()
            }
        made |= {"slots": slots, "mass": mass, "assignments": assignments, "weights": weights}
        if salience is not None:
            made["salience"] = salience
        return {name: value.numpy() for name, value in made.items()}


def slot_vectors(
    assignments: NDArray[np.int64],
    weights: NDArray[np.float32],
    coords: NDArray[np.float64],
    num_slots: int,
) -> NDArray[np.float32]:
    """Compute the moments of each bag's slots that a model with places takes.

    Args:
        assignments: Slots of each patch, [B, N, T]; -1 for padding.
        weights: Weight of each patch in each of them, [B, N, T], salience included.
        coords: Positions of patches in µm, [B, N, 2].
        num_slots: Number of slots, K.

    Returns:
        Moments [B, K, M].
    """
    found = []
    for slots, weight, at in zip(assignments, weights, coords, strict=True):
        real = slots[:, 0] >= 0
        moments = SlotMoments.of(slots[real], weight[real], at[real], num_slots, mpp=1.0)
        found.append(moments.vectors())
    return np.stack(found)
