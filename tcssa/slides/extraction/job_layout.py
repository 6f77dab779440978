"""Layout of an extraction's files, which is TRIDENT's (docs/formats.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tcssa.features.magnification import magnification
from tcssa.slides.settings import ExtractSettings


@dataclass(frozen=True)
class JobLayout:
    """The folders of a job, and the files of each slide in it."""

    job: Path
    grid: Path
    """Folder of the patches of one size, resolution and overlap."""
    features: Path
    """Folder of the features of one encoder on that grid."""

    @classmethod
    def of(cls, job: Path, settings: ExtractSettings) -> JobLayout:
        """Return the layout that these settings lead to.

        Args:
            job: Folder of the job.
            settings: Settings of the extraction.
        """
        power = magnification(settings.mpp)
        grid = job / f"{power:g}x_{settings.patch_size}px_{settings.overlap}px_overlap"
        encoder = re.sub(r"[^\w.-]+", "-", settings.encoder)  # timm:… holds a colon
        return cls(job, grid, grid / f"features_{encoder}")

    @property
    def folders(self) -> list[Path]:
        """Every folder that files are written to."""
        below = ("thumbnails", "contours", "contours_geojson")
        return [
            self.job,
            *(self.job / name for name in below),
            self.grid / "patches",
            self.features,
        ]

    @property
    def failures(self) -> Path:
        """The table of the slides that failed."""
        return self.job / "failures.csv"

    def thumbnail_file(self, slide_id: str) -> Path:
        """Return the path of the slide's plain picture."""
        return self.job / "thumbnails" / f"{slide_id}.jpg"

    def contours_file(self, slide_id: str) -> Path:
        """Return the path of the slide's picture with outlines and patches."""
        return self.job / "contours" / f"{slide_id}.jpg"

    def geojson_file(self, slide_id: str) -> Path:
        """Return the path of the outlines of the slide's tissue."""
        return self.job / "contours_geojson" / f"{slide_id}.geojson"

    def patches_file(self, slide_id: str) -> Path:
        """Return the path of the corners of the slide's patches."""
        return self.grid / "patches" / f"{slide_id}_patches.h5"

    def features_file(self, slide_id: str) -> Path:
        """Return the path of the slide's features; where it exists, the slide is done."""
        return self.features / f"{slide_id}.h5"
