"""The slides of a row, as the visual encoder sees them: one, several as one, or one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import RepeatedSlideError
from tcssa.vqa.conversation import SLIDES_BETWEEN
from tcssa.vqa.data.slide_index import SlideIndex


@dataclass(frozen=True)
class RowSlides:
    """The feature files that a row is about."""

    parts: tuple[tuple[Path, ...], ...]
    """Slides that the visual encoder sees as one; the tokens of one part stand behind those of the
    other. Merged slides are one part, in the order of their names, slides behind each other are as
    many parts, in the row's order."""
    images: tuple[int, ...] = (1,)
    """Parts of each slide or patient that the row names, in its order; of merged ones all belong
    to the first."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All feature files."""
        return tuple(path for part in self.parts for path in part)

    @property
    def name(self) -> str:
        """The slide, or the slides with `` + `` between them."""
        return name_of(self.paths)

    def places(self, num_tokens: Sequence[int]) -> list[int]:
        """Return how many visual tokens stand at each slide or patient that the row names.

        Args:
            num_tokens: Tokens of each part.
        """
        tokens = iter(num_tokens)
        return [sum(next(tokens) for _ in range(count)) for count in self.images]


def name_of(paths: Sequence[Path]) -> str:
    """Return a slide's name by its feature file, or those of several together.

    Args:
        paths: The feature files, at least one.
    """
    return SLIDES_BETWEEN.join(path.stem for path in paths)


def find_slides(named: Sequence[str], index: SlideIndex) -> RowSlides:
    """Find the feature files of all slides that a row names.

    Args:
        named: Slides or patients, as the file names them; several only where ``index`` is told how
            they come together.
        index: Finds feature files, and says how several slides come together.

    Raises:
        MissingFeaturesError: No file belongs to a slide.
        AmbiguousFeaturesError: Several files belong to one.
        RepeatedSlideError: Two names mean the same slide.
    """
    found = [index.find(slide) for slide in named]
    paths = [path for each in found for path in each]
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise RepeatedSlideError(named, twice[0])
    if index.several == "merge":
        merged = tuple(sorted(paths, key=lambda path: path.stem))
        return RowSlides((merged,), (1, *[0] * (len(named) - 1)))
    return RowSlides(tuple((path,) for path in paths), tuple(map(len, found)))
