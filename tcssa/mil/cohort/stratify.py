"""Division of slides into parts with about the same mix of labels, with groups kept whole."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tcssa.mil.tasks.base import Labelled, MilTask
from tcssa.statistics.metrics import Ints


def parts_of(
    slides: Sequence[Labelled], groups: Sequence[str], task: MilTask, num_parts: int, seed: int
) -> list[list[int]]:
    """Divide slides by their strata.

    If each slide is in exactly one stratum, this is scikit-learn's `StratifiedGroupKFold`; if it
    may be in several, as with several targets, the same idea is applied to all strata at once.

    Args:
        slides: The slides to divide.
        groups: Group of each slide; a group is never divided.
        task: The kind of label, which gives the strata.
        num_parts: Number of parts.
        seed: Seed of the draw.

    Returns:
        Indices of the slides of each part.

    Raises:
        ValueError: There are too few slides or groups.
    """
    members = np.stack([stratum.members for stratum in task.strata(slides)], axis=1)
    if (members.sum(axis=1) == 1).all():
        return _by_one_label(members.argmax(axis=1), groups, num_parts, seed)
    return _by_several(members, groups, num_parts, seed)


def _by_one_label(
    labels: Ints, groups: Sequence[str], num_parts: int, seed: int
) -> list[list[int]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(num_parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a part without a class is told of by whoever needs it there
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [test.tolist() for _, test in splitter.split(labels, labels, groups)]


def _by_several(
    members: NDArray[np.bool_], groups: Sequence[str], num_parts: int, seed: int
) -> list[list[int]]:
    """Assign group after group to the part that makes the strata's shares most alike.

    Groups with the largest share of a stratum come first, in random order among equals; a stratum
    of few slides counts as much as one of many.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < num_parts:
        raise ValueError(f"there are {len(names)} groups")
    counts = np.zeros((len(names), members.shape[1] + 1))
    # the number of slides itself is spread too
    np.add.at(counts, group_of, np.column_stack([members, np.ones(len(members))]))
    shares = counts / counts.sum(axis=0).clip(min=1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-shares[order].max(axis=1), kind="stable")]
    held = np.zeros((num_parts, shares.shape[1]))
    part_of = np.zeros(len(names), dtype=int)
    for group in order:
        spread = [
            np.std(held + shares[group] * (np.arange(num_parts) == part)[:, None], axis=0).sum()
            for part in range(num_parts)
        ]
        part_of[group] = int(np.argmin(spread))
        held[part_of[group]] += shares[group]
    return [np.flatnonzero(part_of[group_of] == part).tolist() for part in range(num_parts)]
