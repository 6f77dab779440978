"""Training slides of the other classes, with which the evidence for a class is compared.

A classifier needs to recognise one of two classes only, and calls the other what has none of it.
The evidence for the other then lies on whatever the slides of both have in common, such as normal
tissue. So the evidence for a class is compared with that on slides of the other classes, where the
same tissue has it too:

    E_i − [G(A_i) − G(A_i − a_i)]        Σ_i = the slide's log-odds − their mean on those slides

E_i is the evidence of patch i, a_i its attention, A_i the attention of all patches up to it, the
most attended first. G(u) is the sum of the evidence of a slide's most attended patches that have
the share u of its attention, the mean over the slides compared with. So each patch is compared with
what has the same attention there, at the same place in the order. Patches of equal attention share
what they are compared with.

Shapes: N patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.evidence.evidence import divides, evidence_of
from tcssa.mil.evidence.quantities import others_of, quantities_of
from tcssa.mil.methods import BagClassifier
from tcssa.mil.tasks import MilTask
from tcssa.reporter import Reporter

Floats = NDArray[np.float64]

REFERENCE_FILE = "evidence_reference.safetensors"
MOST_SLIDES = 32
"""Slides of the other classes that a class is compared with."""
_SHARES = np.linspace(0, 1, 129)


@dataclass(frozen=True)
class Reference:
    """The evidence for each class on slides of the other classes, in the order of attention."""

    curves: Mapping[str, Floats]
    """G at equal steps from 0 to 1, by the quantity; those without a class have none."""

    @classmethod
    def of(
        cls,
        model: BagClassifier,
        slides: Sequence[CohortSlide],
        store: BagStore,
        device: torch.device,
        reporter: Reporter,
    ) -> Self:
        """Measure the evidence on training slides; empty where evidence does not add up.

        Args:
            model: The classifier, in evaluation mode, on the device.
            slides: The slides that it was trained on.
            store: Reads their features.
            device: Computes the evidence.
            reporter: Told of progress.
        """
        rng, task = np.random.default_rng(0), model.task
        others = others_of(task, slides) if divides(model) else {}
        drawn = {
            name: [rows[i] for i in rng.permutation(len(rows))[:MOST_SLIDES]]
            for name, rows in others.items()
            if rows
        }
        used = {slide.slide_id: slide for rows in drawn.values() for slide in rows}
        found: dict[str, dict[str, Floats]] = {}
        factors = quantities_of(task)
        with reporter.task("reference of heat maps", len(used), "slides") as progress:
            for slide_id, slide in used.items():
                coords = store.coords(slide) if model.reads_coords else None
                evidence = evidence_of(model, store.get(slide).to(device), coords)
                assert evidence.attention is not None  # it divides
                order = _Order(evidence.attention)
                found[slide_id] = {n: order.curve(evidence.parts @ factors[n]) for n in drawn}
                progress.advance()
        return cls(
            {
                name: np.mean([found[slide.slide_id][name] for slide in rows], axis=0)
                for name, rows in drawn.items()
            }
        )

    @property
    def sums(self) -> dict[str, float]:
        """The mean of each quantity on the slides compared with."""
        return {name: float(curve[-1]) for name, curve in self.curves.items()}

    def compared(self, evidence: Mapping[str, Floats], attention: Floats) -> dict[str, Floats]:
        """Compare a slide's evidence; of a quantity that has no reference it stays as it is.

        Args:
            evidence: Evidence of the patches for each quantity, [N].
            attention: Their attention, [N]; sums to 1.
        """
        order = _Order(attention)
        return {
            name: values - order.shares(self.curves[name]) if name in self.curves else values
            for name, values in evidence.items()
        }

    def save(self, folder: Path) -> None:
        """Write the reference into a run's folder, unless it is empty."""
        if self.curves:
            curves = torch.from_numpy(np.stack(list(self.curves.values())))
            write_tensors(folder / REFERENCE_FILE, {"curves": curves}, {"for": list(self.curves)})

    @classmethod
    def read(cls, folder: Path, task: MilTask) -> Self | None:
        """Read what `save` wrote; None where there is none.

        Args:
            folder: The run's folder.
            task: The run's kind of label.

        Raises:
            CheckpointError: The file is damaged.
        """
        path = folder / REFERENCE_FILE
        if not path.exists():
            return None
        tensors, facts = read_tensors(path)
        with reading(path, CheckpointError):
            names, curves = list(facts["for"]), tensors["curves"].double().numpy()
            if curves.shape != (len(names), len(_SHARES)) or not np.isfinite(curves).all():
                raise UnsoundError(f"its curves are not {len(_SHARES)} finite numbers each")
            if not set(names) <= set(quantities_of(task)):
                raise UnsoundError("it is of other classes than the run")
            return cls(dict(zip(names, curves, strict=True)))


class _Order:
    """The patches of a slide by falling attention; those of equal attention stand together."""

    def __init__(self, attention: Floats) -> None:
        values, self._group, self._sizes = np.unique(
            -attention, return_inverse=True, return_counts=True
        )
        ends = np.cumsum(-values * self._sizes)
        self._ends = np.concatenate([[0.0], ends / ends[-1]])

    def curve(self, evidence: Floats) -> Floats:
        """Return G of this slide."""
        sums = np.cumsum(np.bincount(self._group, evidence))
        found: Floats = np.interp(_SHARES, self._ends, np.concatenate([[0.0], sums]))
        return found

    def shares(self, curve: Floats) -> Floats:
        """Return each patch's part of a curve, [N]."""
        parts = np.diff(np.interp(self._ends, _SHARES, curve)) / self._sizes
        of_patches: Floats = parts[self._group]
        return of_patches
