"""Reading of slides, one while another is predicted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tcssa.errors import FeatureFileError, NonFiniteFeatureError
from tcssa.features import open_bag
from tcssa.features.content import ContentHash
from tcssa.files.boundary import reading
from tcssa.mil.prediction.slide_model import GivenSlide, ReadSlide


@dataclass(frozen=True)
class Loaded:
    """A slide whose features are read, and what tells them from others."""

    slide: ReadSlide
    stat: os.stat_result
    """Size and time of the file, as of before it was read."""
    content: str
    """Hash of features and coordinates."""


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
    """Read the features of a slide.

    Raises:
        FeatureFileError: The file cannot be read.
        NonFiniteFeatureError: A feature is NaN or infinite; the error names file and row.
    """
    with reading(given.ref.address, FeatureFileError):
        stat = given.ref.file.stat()
    with open_bag(given.ref) as bag:
        features, corners = np.array(bag.read(), order="C"), bag.read_coords()
    finite = np.isfinite(features)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise NonFiniteFeatureError(row, where=str(given.ref))
    content = ContentHash(features.shape[1])
    content.add(features)
    return Loaded(ReadSlide(given.slide, features, corners), stat, content.digest(corners))
