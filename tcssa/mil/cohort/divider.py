"""A divider of slides that keeps groups whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tcssa.errors import SplitError
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.cohort.stratify import parts_of
from tcssa.mil.tasks import MilTask, Stratum


@dataclass(frozen=True)
class Divider:
    """A divider of slides that keeps groups whole and spreads labels evenly."""

    groups: dict[str, str]
    """slide_id to the group that is never divided."""
    task: MilTask

    def count(self, slides: Sequence[CohortSlide], stratum: Stratum) -> int:
        """Count the groups of the slides that belong to a stratum."""
        pairs = zip(slides, stratum.members, strict=True)
        return len({self.groups[slide.slide_id] for slide, is_in in pairs if is_in})

    def least(self, slides: Sequence[CohortSlide]) -> int:
        """Count the groups of the rarest stratum that every part needs."""
        strata = [stratum for stratum in self.task.strata(slides) if stratum.required]
        return min((self.count(slides, stratum) for stratum in strata), default=0)

    def divide(
        self, slides: Sequence[CohortSlide], num_parts: int, seed: int
    ) -> list[list[CohortSlide]]:
        """Divide slides into parts of about equal size and mix of labels, each group in one part.

        Args:
            slides: The slides to divide.
            num_parts: Number of parts.
            seed: Seed of the draw.

        Raises:
            SplitError: There are too few slides or groups for so many parts.
        """
        names = [self.groups[slide.slide_id] for slide in slides]
        try:
            parts = parts_of(slides, names, self.task, num_parts, seed)
        except ValueError as error:
            raise SplitError(
                f"the slides cannot be divided into {num_parts} parts: {error}"
            ) from None
        return [[slides[i] for i in part] for part in parts]
