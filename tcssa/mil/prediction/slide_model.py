"""The interface of whatever predicts a slide: a run of train-mil, or an artefact in its runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from numpy.typing import NDArray

from tcssa.features import BagRef
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.tasks import MilTask


@dataclass(frozen=True)
class GivenSlide:
    """A slide to predict, as its feature file describes it, or all slides of a patient."""

    slide: CohortSlide
    """Its label is of no meaning."""
    refs: tuple[BagRef, ...]
    """Its feature file, or those of the patient's slides, in their order."""
    patch_um: float | None = None
    """Width of a patch in µm, if the file says how its patches were cut, and a patient's agree."""

    @classmethod
    def of_case(cls, given: Sequence[Self]) -> Self:
        """Return all slides of one patient as one bag."""
        slide = CohortSlide.of_case([each.slide for each in given])
        refs = {each.slide.slide_id: each.refs for each in given}
        widths = {each.patch_um for each in given}
        return cls(
            slide,
            tuple(ref for part in slide.parts for ref in refs[part.slide_id]),
            widths.pop() if len(widths) == 1 else None,
        )


@dataclass(frozen=True)
class ReadSlide:
    """A slide whose features are read."""

    slide: CohortSlide
    features: NDArray[Any]
    """[N, D], in the type they are stored in."""
    corners: NDArray[Any] | None
    """Corners (x, y) of its patches, [N, 2], in the unit of the file; None if it has none."""


@dataclass(frozen=True)
class Outputs:
    """Outputs of a model, and of its folds, for a slide."""

    final: list[float]
    """Outputs [O], from which the task computes probabilities."""
    folds: list[list[float]]
    """Outputs of each fold's model; empty where there are none."""
    unlike: float | None
    """Share of patches unlike those of training; None where no statistic of these is known."""


class TrainedOn(Protocol):
    """Says which features a model was trained on."""

    @property
    def feature_dim(self) -> int:
        """Return their length D."""

    @property
    def encoder(self) -> str | None:
        """Return their encoder, if known."""


class SlideModel(Protocol):
    """Predicts slides one by one."""

    name: str
    """What predicts, in a few words."""
    task: MilTask
    """The kind of label that the outputs stand for."""
    feature_dim: int
    encoder: str | None
    """Encoder of the features it was trained on, if known."""
    sha256: str
    """Hash of the model's files: another one predicts anew."""
    num_folds: int
    unit: Literal["slide", "case"]
    """What one bag is: a slide, or all slides of a patient."""

    def doubts(self, slides: Sequence[GivenSlide]) -> list[str]:
        """Say what is doubtful about predicting slides, a sentence each; see `doubts_about`."""

    def predict(self, slide: ReadSlide) -> Outputs:
        """Predict one slide.

        Raises:
            TcssaError: The slide lacks what the model reads, such as coordinates.
        """
