"""Several models of one shape as the graphs of one, whose slots are all theirs side by side.

An ensemble of M models with K slots each is a model of M·K slots: every patch goes to top_k slots
of each member, and the logits are the mean of the members'. Weights hold the salience already,
since a patch has another one in each member. So the graphs take and give the tensors of any other
classifier, a chunked pair's sums add up as ever, and runtimes need not know.

Shapes: B bags or chunks, N patches, D features of a slot, K slots of a member, T its top_k, M
members.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from tcssa_exporters.graph import FinishGraph, PartialGraph, takes_mass

Module = TypeVar("Module", bound=nn.Module)


class SideBySide(nn.Module):
    """The graphs of an ensemble's members that turn patches into means, as one.

    Args:
        members: The graph of each member.
    """

    def __init__(self, members: Sequence[PartialGraph]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.num_members = len(members)
        self.num_slots, self.top_k = members[0].gate.out_features, members[0].top_k

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Sum up a padded batch; see `PartialGraph.forward`.

        Args:
            features: Patch features [B, N, P].
            lengths: Patches of each bag, [B], int64.

        Returns:
            Mean [B, M·K, D], mass [B, M·K], assignments and weights [B, N, M·T].
        """
        means, masses, chosen, weights = [], [], [], []
        for index, member in enumerate(self.members):
            mean, mass, slots, weight, *salience = member(features, lengths)
            means.append(mean)
            masses.append(mass)
            chosen.append(torch.where(slots < 0, slots, slots + index * self.num_slots))
            weights.append(weight * salience[0].unsqueeze(2) if salience else weight)
        return (
            torch.cat(means, dim=1),
            torch.cat(masses, dim=1),
            torch.cat(chosen, dim=2),
            torch.cat(weights, dim=2),
        )

    def spread(self, chosen_BNT: Tensor, weights_BNT: Tensor) -> Tensor:
        """Spread weights over the slots of all members, [B, N, M·K]; see `PartialGraph.spread`.

        Args:
            chosen_BNT: Slots of each patch, [B, N, M·T].
            weights_BNT: Weight of each patch in each of them.
        """
        dense = []
        for index, member in enumerate(self.members):
            own = slice(index * self.top_k, (index + 1) * self.top_k)
            chosen_of_own = chosen_BNT[:, :, own] - index * self.num_slots
            dense.append(cast(PartialGraph, member).spread(chosen_of_own, weights_BNT[:, :, own]))
        return torch.cat(dense, dim=2)


class MeanOfHeads(nn.Module):
    """The mean of the outputs of members' heads, each of its own slots.

    Args:
        heads: The head of each member.
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.needs_mass = takes_mass(heads[0])

    def forward(self, slots: Tensor, mass: Tensor | None = None) -> Tensor:
        """Compute the mean, in float32 whatever the heads compute in.

        Args:
            slots: [B, M·K, D].
            mass: [B, M·K]; required if `needs_mass`.
        """
        count = len(self.heads)
        parts = slots.chunk(count, dim=1)
        masses = [None] * count if mass is None else mass.chunk(count, dim=1)
        outputs = [
            head(part, weight).float()
            for head, part, weight in zip(self.heads, parts, masses, strict=True)
        ]
        return torch.stack(outputs).mean(dim=0)


def side_by_side(
    members: Sequence[tuple[PartialGraph, FinishGraph]], names: Sequence[str]
) -> tuple[SideBySide, FinishGraph]:
    """Join the graphs of an ensemble's members into those of one model.

    The experts and the places' maps are stacked, so that they stay one product each.

    Args:
        members: Both graphs of each member; all have the same shape.
        names: Names of the heads' outputs.
    """
    finishes = [finish for _, finish in members]
    heads = zip(*(finish.heads for finish in finishes), strict=True)
    places = [finish.places for finish in finishes if finish.places is not None]
    finish = FinishGraph(
        _stacked([finish.experts for finish in finishes]),
        {name: MeanOfHeads(of_each) for name, of_each in zip(names, heads, strict=True)},
        _stacked(places) if places else None,
    )
    return SideBySide([partial for partial, _ in members]).eval(), finish.eval()


def _stacked(modules: Sequence[Module]) -> Module:
    """Join modules whose tensors all have the slots as their first axis."""
    whole = copy.deepcopy(modules[0])
    of_each = [dict(chain(module.named_parameters(), module.named_buffers())) for module in modules]
    for name, tensor in chain(whole.named_parameters(), whole.named_buffers()):
        tensor.data = torch.cat([tensors[name].data for tensors in of_each])
    return whole
