"""A step's slides, divided over parts and processes, and put together again.

A step's slides are cut into parts of about as many patches; process r takes the parts r, r + n, …
of n processes. Each process computes the logits of its slides. Those of all, with the sums that the
balance loss needs, are then put together on every process, and each computes the loss of the whole
step from them. So a loss need not be a sum over slides: none of them is ever cut.
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
    """Its number; noise and dropout follow from it."""
    positions: list[int]
    """Of its slides in the step."""
    counts: bool = True
    """False: computed only for the shape of what the other processes give."""


@dataclass(frozen=True)
class Share:
    """What one process does of a step."""

    slides: Sequence[CohortSlide]
    """All slides of the step."""
    parts: list[Part]
    """What this process computes; never nothing."""

    def own_slides(self) -> list[CohortSlide]:
        """The slides that this process reads, part by part."""
        return [self.slides[i] for part in self.parts for i in part.positions]


def divide(sizes: Sequence[int], num_parts: int) -> list[list[int]]:
    """Cut into parts of about the same size: the largest first, each to the lightest part.

    Args:
        sizes: Of the things to be divided.
        num_parts: How many parts; some are empty where there are fewer things.

    Returns:
        For each part the positions of its things, ascending.
    """
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    lightest = [(0, part) for part in range(num_parts)]
    for position in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        load, part = heapq.heappop(lightest)
        parts[part].append(position)
        heapq.heappush(lightest, (load + sizes[position], part))
    return [sorted(part) for part in parts]


def share_of(slides: Sequence[CohortSlide], num_parts: int, processes: Processes) -> Share:
    """This process's share of a step.

    A process without a slide looks at the smallest one, so that it knows the shape of what the
    others send; another process computes that slide at the same time, so nobody waits for it.
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
    """The output of a whole step, on every process.

    Args:
        share: What this process did.
        outputs: Of each of its parts.
        processes: They all call this at the same step.

    Returns:
        As one process would have it for all slides at once. A gradient goes to this process's
        parts; all processes' gradients add up to that of the whole.
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
