"""Where the files of an extraction go: TRIDENT's places (docs/formats.md)."""

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
    """Patches of one size and resolution."""
    features: Path
    """Features of one encoder on that grid."""

    @classmethod
    def of(cls, job: Path, settings: ExtractSettings) -> JobLayout:
        """The layout that these settings write."""
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
        """The plain picture."""
        return self.job / "thumbnails" / f"{slide_id}.jpg"

    def contours_file(self, slide_id: str) -> Path:
        """The picture with outlines and patches."""
        return self.job / "contours" / f"{slide_id}.jpg"

    def geojson_file(self, slide_id: str) -> Path:
        """The outlines of the tissue."""
        return self.job / "contours_geojson" / f"{slide_id}.geojson"

    def patches_file(self, slide_id: str) -> Path:
        """The corners of the patches."""
        return self.grid / "patches" / f"{slide_id}_patches.h5"

    def features_file(self, slide_id: str) -> Path:
        """The features; it being there means that the slide is done."""
        return self.features / f"{slide_id}.h5"
