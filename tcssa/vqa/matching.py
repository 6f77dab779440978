"""Which feature file belongs to a slide that a question file names.

Question files name slides in their own way: by a path on another machine, with or without the
UUID of the GDC, or by the patient alone. Names are compared whole: DX1 is never taken for DX10.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path


class SeveralSlides(StrEnum):
    """What to do where a question names a patient who has several slides."""

    ERROR = "error"
    """Refuse, and name the slides."""
    DX1 = "dx1"
    """Take the slide whose barcode ends with DX1, if there is exactly one."""
    FIRST = "first"
    """Take the first by name."""


class SlideIndex:
    """Feature files by the names of their slides.

    Args:
        paths: Feature files.
        folder: Named in errors.
        several: What to do where a patient has several slides.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        folder: Path,
        several: SeveralSlides = SeveralSlides.ERROR,
    ) -> None:
        self.folder, self.several = folder, SeveralSlides(several)
        self.chosen: dict[str, tuple[Path, ...]] = {}
        """Patients with several slides that were asked for: the slide taken, then the others."""

    @classmethod
    def from_folder(cls, folder: Path, several: SeveralSlides = SeveralSlides.ERROR) -> SlideIndex:
        """All feature files of a folder or job, or of the folders below it.

        Raises:
            MissingDataError: The folder does not exist, or holds no feature file.
        """
        raise NotImplementedError

    def find(self, slide: str) -> Path:
        """The feature file of a slide.

        Args:
            slide: A slide's name, a path of it (only its last part counts), or a TCGA patient.

        Raises:
            MissingFeaturesError: There is none.
            AmbiguousFeaturesError: There are several.
        """
        raise NotImplementedError
