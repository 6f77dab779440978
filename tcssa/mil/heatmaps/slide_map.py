"""The evidence of one slide by the names of what it is for, and its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classify_bags import check_coords
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.evidence import Evidence, Reference, evidence_of
from tcssa.mil.evidence.occlusion import MOST_BLOCKS
from tcssa.mil.evidence.quantities import leading, quantities_of
from tcssa.mil.heatmaps.drawing import Layer
from tcssa.mil.heatmaps.scales import Floats, Scale, ScaleName
from tcssa.mil.methods import BagClassifier
from tcssa.mil.tasks import MilTask

ATTENTION = "attention"


def slide_evidence(
    model: BagClassifier,
    slide: CohortSlide,
    store: BagStore,
    device: torch.device,
    *,
    most_blocks: int = MOST_BLOCKS,
) -> Evidence:
    """Read a slide and compute the evidence of its patches.

    Args:
        model: The classifier, in evaluation mode, on the device.
        slide: The slide, opened.
        store: Reads its features as training did.
        device: Device to compute on.
        most_blocks: See `evidence_of`.

    Raises:
        MissingDataError: The method reads coordinates, and the file has none.
        FeatureFileError: The file cannot be read.
        NonFiniteFeatureError: A patch has a NaN or an infinity.
    """
    check_coords(model, [slide])
    bag = store.get(slide).to(device)
    coords = store.coords(slide) if slide.has_coords else None
    return evidence_of(model, bag, coords, most_blocks=most_blocks)


@dataclass(frozen=True)
class SlideMap:
    """The evidence of a slide's patches, and how much each counts."""

    evidence: dict[str, Floats]
    """For each quantity, [N]; see `tcssa.mil.evidence.quantities`."""
    attention: Floats | None
    """Attention as a multiple of the mean patch's, [N]; None where the method has none."""
    leading: list[str]
    """The quantities that the slide's prediction rests on."""

    @classmethod
    def of(cls, evidence: Evidence, task: MilTask, reference: Reference | None = None) -> Self:
        """Name the evidence of a slide.

        Args:
            evidence: The evidence for each output.
            task: The kind of label.
            reference: What the evidence is compared with; None compares with nothing.
        """
        named = {name: evidence.parts @ each for name, each in quantities_of(task).items()}
        attention = evidence.attention
        if reference is not None and attention is not None:
            named = reference.compared(named, attention)
        times_mean = None if attention is None else attention * len(attention)
        return cls(named, times_mean, leading(task, evidence.logits))

    @property
    def values(self) -> dict[str, Floats]:
        """All values by name, attention last."""
        return self.evidence | ({} if self.attention is None else {ATTENTION: self.attention})

    def layers(
        self,
        shown: Sequence[str] = (),
        scale: ScaleName | None = None,
        together: Mapping[str, Floats] | None = None,
    ) -> list[Layer]:
        """Return the heat maps of the slide.

        Args:
            shown: Quantities to show the evidence for; none: the leading ones.
            scale: The scale of all; None takes values for evidence, which has a sign, and
                percentiles for attention.
            together: Values of all slides by name, for one scale on all of them.
        """
        found = []
        for name in [*(shown or self.leading), *([] if self.attention is None else [ATTENTION])]:
            is_attention = name == ATTENTION
            values = self.values[name]
            reference = values if together is None else together[name]
            kind: ScaleName = scale or ("percentile" if is_attention else "value")
            title = "attention" if is_attention else f"evidence for {name}"
            title += ", percentile" if kind == "percentile" else ""
            title += " (1: the mean patch)" if is_attention and kind == "value" else ""
            found.append(Layer(title, values, Scale.of(kind, reference, signed=not is_attention)))
        return found

    def order(self, name: str) -> list[int]:
        """Return the patches by falling evidence for a quantity."""
        return [int(row) for row in np.argsort(-self.evidence[name], kind="stable")]
