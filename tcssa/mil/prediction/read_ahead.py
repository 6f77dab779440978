"""Reading of slides, one while another is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, NonFiniteFeatureError
from tcssa.features import BagRef, open_bag
from tcssa.features.content import ContentHash
from tcssa.files.boundary import reading
from tcssa.mil.prediction.slide_model import GivenSlide, ReadSlide
from tcssa.mil.prediction.stored_outputs import StoredInput


@dataclass(frozen=True)
class Loaded:
    """A slide whose features are read, and what tells them from others."""

    slide: ReadSlide
    inputs: list[StoredInput]
    """Its feature file, or those of a patient's slides."""


def read_ahead(slides: Sequence[GivenSlide]) -> Iterator[tuple[GivenSlide, Future[Loaded]]]:
    """Yield each slide with the reading of it, while the next one is read."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-slides") as pool:
        coming = pool.submit(_load, slides[0]) if slides else None
        for index, given in enumerate(slides):
            assert coming is not None
            ready = coming
            ready.exception()  # waits: the memory is of two slides and no more
            if index + 1 < len(slides):
                coming = pool.submit(_load, slides[index + 1])
            yield given, ready


def _load(given: GivenSlide) -> Loaded:
    """Read the features of a slide, or of all slides of a patient, which have no coordinates.

    Raises:
        FeatureFileError: A file cannot be read.
        NonFiniteFeatureError: A feature is NaN or infinite; the error names file and row.
    """
    features, corners, inputs = zip(*map(_read, given.refs), strict=True)
    if len(features) == 1:
        return Loaded(ReadSlide(given.slide, features[0], corners[0]), list(inputs))
    return Loaded(ReadSlide(given.slide, np.concatenate(features), None), list(inputs))


def _read(ref: BagRef) -> tuple[NDArray[Any], NDArray[Any] | None, StoredInput]:
    """Read features and corners of one file, with what tells it from others."""
    with reading(ref.address, FeatureFileError):
        stat = ref.file.stat()  # as of before it is read
    with open_bag(ref) as bag:
        features, corners = np.array(bag.read(), order="C"), bag.read_coords()
    finite = np.isfinite(features)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise NonFiniteFeatureError(row, where=str(ref))
    content = ContentHash(features.shape[1])
    content.add(features)
    return features, corners, StoredInput.of(ref, stat, content.digest(corners))
