"""CSV tables of an inspection: a row a fold, a slide, a slot, a pair of slots, or a patch.

A slot is named by ``fold`` and ``slot`` together, in every table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from itertools import chain
from pathlib import Path

import numpy as np

from tcssa.files import atomic
from tcssa.mil.results.history import Epoch
from tcssa.mil.slots.ablation import SlotAblation
from tcssa.mil.slots.association import FoldAssociations, SlotAssociation
from tcssa.mil.slots.embedding import Embedding
from tcssa.mil.slots.exemplars import Exemplar
from tcssa.mil.slots.meaning import SlotMeaning, SlotStability
from tcssa.mil.slots.routed import RoutedSlide
from tcssa.mil.slots.utilisation import SlotsInUse, TokenCosine

_OF_FOLD = (
    "num_slides", "num_patches", "effective_slots", "largest_share", "empty_per_slide",
    "first_weight", "entropy",
)  # fmt: skip
_OF_SLOT = ("first_share", "any_share", "mass_share", "slide_share")


def write_epochs(path: Path, folds: Mapping[int, Sequence[Epoch]]) -> None:
    """Write the slot use of the training patches, epoch by epoch, as the run recorded it.

    Args:
        path: The CSV file.
        folds: The epochs of each fold.
    """
    figures = ("effective_slots", "largest_share", "unused_slots", "aux_excess")
    rows = [
        [fold, row.epoch, *(getattr(row.slots, name) for name in figures)]
        for fold, epochs in folds.items()
        for row in epochs
        if row.slots is not None
    ]
    atomic.write_csv(path, ["fold", "epoch", *figures], rows)


def write_use(
    folder: Path, folds: Sequence[SlotsInUse], silhouettes: Mapping[int, float | None]
) -> None:
    """Write ``folds.csv`` and ``slots.csv``.

    Args:
        folder: Folder of both.
        folds: The use of slots in each fold.
        silhouettes: Mean silhouette by fold; an empty cell where it is None.
    """
    header = ["fold", *_OF_FOLD, "dead_slots", "silhouette"]
    rows = [
        [
            use.fold,
            *(getattr(use, name) for name in _OF_FOLD),
            len(use.dead),
            silhouettes.get(use.fold),
        ]
        for use in folds
    ]
    atomic.write_csv(folder / "folds.csv", header, rows)
    of_slots = [
        [use.fold, slot, *(getattr(use, name)[slot] for name in _OF_SLOT)]
        for use in folds
        for slot in range(len(use.mass_share))
    ]
    atomic.write_csv(folder / "slots.csv", ["fold", "slot", *_OF_SLOT], of_slots)


def write_slides(
    folder: Path, slides: Sequence[RoutedSlide], classes: Sequence[str], *, has_labels: bool = True
) -> None:
    """Write ``slides.csv``, and ``slide_slots.csv`` with the mass of every slot of every slide.

    Args:
        folder: Folder of both.
        slides: Test slides of all folds.
        classes: Names of the classes.
        has_labels: Whether their labels are known; if not, the column is empty.
    """
    rows, of_slots = [], []
    for routed in slides:
        who = [routed.fold, routed.slide.slide_id, routed.slide.case_id]
        label = classes[routed.slide.label] if has_labels else ""
        classed = [label, classes[routed.predicted]]
        empty = int((routed.mass == 0).sum())
        confidence = [float(routed.weights[:, 0].mean()), routed.entropy]
        rows.append([*who, *classed, len(routed.slots), empty, *confidence])
        patches = np.bincount(routed.first, minlength=len(routed.mass))
        for slot, share in enumerate(routed.mass_share):
            of_slots.append([*who, slot, routed.mass[slot], share, patches[slot]])
    who_header = ["fold", "slide_id", "case_id"]
    confidence_header = ["first_weight", "entropy"]
    header = [*who_header, "label", "predicted", "num_patches", "empty_slots", *confidence_header]
    atomic.write_csv(folder / "slides.csv", header, rows)
    header = [*who_header, "slot", "mass", "mass_share", "first_patches"]
    atomic.write_csv(folder / "slide_slots.csv", header, of_slots)


def write_cosine(path: Path, folds: Sequence[TokenCosine]) -> None:
    """Write every pair of slots once; the cosine is empty where they never meet on a slide.

    Args:
        path: The CSV file.
        folds: The token cosines of each fold.
    """
    rows = []
    for cosine in folds:
        for one, other in zip(*np.triu_indices(len(cosine.mean), k=1), strict=True):
            value, count = cosine.mean[one, other], cosine.num_slides[one, other]
            rows.append([cosine.fold, one, other, value if count else None, count])
    atomic.write_csv(path, ["fold", "slot", "other_slot", "mean_cosine", "num_slides"], rows)


def write_association(
    path: Path, folds: Sequence[FoldAssociations], classes: Sequence[str]
) -> None:
    """Write the test of every slot.

    Args:
        path: The CSV file.
        folds: The associations of each fold.
        classes: Names of the classes.
    """
    names = [field.name for field in fields(SlotAssociation)]
    rows = [[*astuple(row)[:-1], classes[row.auc_class]] for fold in folds for row in fold.slots]
    atomic.write_csv(path, names, rows)


def write_ablation(path: Path, folds: Sequence[Sequence[SlotAblation]]) -> None:
    """Write the ablation of every slot.

    Args:
        path: The CSV file.
        folds: The ablations of each fold, one entry a slot.
    """
    names = [field.name for field in fields(SlotAblation)]
    atomic.write_csv(path, names, [astuple(row) for rows in folds for row in rows])


def write_meaning(path: Path, folds: Sequence[SlotMeaning], labels: Sequence[str]) -> None:
    """Write how much slots tell about patch labels; without folds, write no table.

    Args:
        path: The CSV file.
        folds: The figures of each fold; empty where there are no patch labels.
        labels: Names of the patch labels.
    """
    if not folds:
        return
    header = ["fold", "num_labelled", "information", "purity"]
    header += [f"{part}_{label}" for label in labels for part in ("slot", "auc")]
    rows = [
        [m.fold, m.num_labelled, m.information, m.purity, *chain.from_iterable(m.detectors)]
        for m in folds
    ]
    atomic.write_csv(path, header, rows)


def write_stability(path: Path, pairs: Sequence[SlotStability]) -> None:
    """Write how far models agree, and which slot of the other each slot is matched with.

    Args:
        path: The CSV file.
        pairs: Pairs of models.
    """
    rows = [
        [pair.one, pair.other, pair.num_patches, pair.agreement, slot, partner]
        for pair in pairs
        for slot, partner in enumerate(pair.partners)
    ]
    header = ["model", "other_model", "num_patches", "agreement", "slot", "other_slot"]
    atomic.write_csv(path, header, rows)


def write_exemplars(path: Path, exemplars: Sequence[Exemplar]) -> None:
    """Write the exemplar patches; corner and side are empty where coordinates are not known.

    Args:
        path: The CSV file.
        exemplars: Exemplars of all folds.
    """
    header = ["fold", "slot", "rank", "slide_id", "patch", "weight", "x", "y", "side_level0"]
    rows = [
        [e.fold, e.slot, e.rank, e.slide_id, e.patch, e.weight, *(e.corner or ("", "")), e.side]
        for e in exemplars
    ]
    atomic.write_csv(path, header, rows)


def write_embedding(path: Path, embedding: Embedding) -> None:
    """Write the sampled patches in the plane.

    Args:
        path: The CSV file.
        embedding: The patches.
    """
    owners = embedding.slides
    rows = [
        [routed.fold, routed.slide.slide_id, patch, slot, x, y]
        for routed, patch, slot, (x, y) in zip(
            owners, embedding.patches, embedding.first, embedding.xy, strict=True
        )
    ]
    atomic.write_csv(path, ["fold", "slide_id", "patch", "first_slot", "x", "y"], rows)
