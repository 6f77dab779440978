"""The interface of whatever predicts a slide: a run of train-mil, or an artefact in its runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from tcssa.features import BagRef
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.tasks import MilTask


@dataclass(frozen=True)
class GivenSlide:
    """A slide to predict, as its feature file describes it."""

    slide: CohortSlide
    """Its label is of no meaning."""
    ref: BagRef
    case_is_known: bool
    patch_um: float | None = None
    """Width of a patch in µm, if the file says how its patches were cut."""


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
    """What a model says of a slide."""

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

    def doubts(self, slides: Sequence[GivenSlide]) -> list[str]:
        """Say what is doubtful about predicting slides, a sentence each; see `doubts_about`."""

    def predict(self, slide: ReadSlide) -> Outputs:
        """Predict one slide.

        Raises:
            TcssaError: The slide lacks what the model reads, such as coordinates.
        """
