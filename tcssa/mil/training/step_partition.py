"""The division of a step's slides over parts and processes, and the merging of their outputs.

A step's slides are divided into parts of about equal numbers of patches; of n processes, process r
takes the parts r, r + n, … Each process computes the logits of its slides. The logits of all, with
the sums that the balance loss needs, are then put together on every process, and each computes the
loss of the whole step from them. So a loss need not be a sum over slides, and no slide is divided.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch

from tcssa.compressor.balance import RoutingSums
from tcssa.compute.processes import Processes
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.methods import BagsLogits


@dataclass(frozen=True)
class Part:
    """Slides of a step that are computed at once."""

    index: int
    """Number of the part; its noise and dropout are seeded by it."""
    positions: list[int]
    """Positions of its slides in the step."""
    counts: bool = True
    """False if the part is computed only to know the shape of the other processes' outputs."""


@dataclass(frozen=True)
class Share:
    """One process's share of a step."""

    slides: Sequence[CohortSlide]
    """All slides of the step."""
    parts: list[Part]
    """The parts that this process computes; at least one."""

    def own_slides(self) -> list[CohortSlide]:
        """List the slides that this process reads, part by part."""
        return [self.slides[i] for part in self.parts for i in part.positions]


def divide(sizes: Sequence[int], num_parts: int) -> list[list[int]]:
    """Divide items into parts of about equal size: the largest first, each to the smallest part.

    Args:
        sizes: Sizes of the items.
        num_parts: Number of parts; some are empty if there are fewer items.

    Returns:
        For each part the positions of its items, ascending.
    """
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    lightest = [(0, part) for part in range(num_parts)]
    for position in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        load, part = heapq.heappop(lightest)
        parts[part].append(position)
        heapq.heappush(lightest, (load + sizes[position], part))
    return [sorted(part) for part in parts]


def share_of(slides: Sequence[CohortSlide], num_parts: int, processes: Processes) -> Share:
    """Return this process's share of a step.

    A process without a slide computes the smallest one, to know the shape of the others' outputs;
    another process computes that slide at the same time, so this delays no process.

    Args:
        slides: All slides of the step.
        num_parts: Number of parts that the step is divided into.
        processes: The processes of the training.
    """
    sizes = [slide.num_patches for slide in slides]
    parts = [
        Part(index, positions)
        for index, positions in enumerate(divide(sizes, num_parts))
        if positions and index % processes.count == processes.index
    ]
    if not parts:
        parts = [Part(0, [sizes.index(min(sizes))], counts=False)]
    return Share(slides, parts)


def put_together(share: Share, outputs: Sequence[BagsLogits], processes: Processes) -> BagsLogits:
    """Merge the outputs of all processes into the output of a whole step, on every process.

    Args:
        share: This process's share of the step.
        outputs: The output of each of its parts.
        processes: The processes of the training; all must call this at the same step.

    Returns:
        The output that one process would compute for all slides at once. Gradients flow to this
        process's parts only; the gradients of all processes add up to that of the whole step.
    """
    if len(outputs) == 1 and processes.count == 1:
        return outputs[0]
    num_slides = len(share.slides)
    positions = [i for part in share.parts for i in part.positions]
    own = torch.cat([output.logits.float() for output in outputs])
    order = torch.tensor(positions, device=own.device)
    values = [own.new_zeros(num_slides, own.shape[1]).index_copy(0, order, own)]
    extra = [
        output.extra_loss * (len(part.positions) / num_slides)
        for part, output in zip(share.parts, outputs, strict=True)
        if output.extra_loss is not None
    ]
    if extra:
        values.append(torch.stack(extra).sum())
    if outputs[0].routing is not None:
        sums = reduce(RoutingSums.merge, [output.routing for output in outputs if output.routing])
        num_patches = torch.tensor(sums.num_patches, dtype=torch.float64, device=own.device)
        values += [sums.probs, sums.counts, sums.logsumexp, num_patches]
    if not share.parts[0].counts:
        values = [torch.zeros_like(value) for value in values]
    logits, *rest = processes.sum(values)
    extra_loss = rest.pop(0) if extra else None
    routing = None
    if rest:
        probs, counts, logsumexp, num_patches = rest
        routing = RoutingSums(probs, counts, logsumexp, round(float(num_patches.detach())))
    return BagsLogits(logits, extra_loss, routing)
