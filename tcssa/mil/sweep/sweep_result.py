"""The result of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class SweepResult:
    """The completed and the failed runs of a sweep."""

    out: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Settings and scores of every completed run."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Name of each failed run, and the reason."""
    headline: str = "auc"
    """The first metric of a row, after the settings."""

    @property
    def chart(self) -> Path:
        """Image file of the headline metric against K, drawn if K is swept."""
        return self.out / f"{self.headline}_by_slots.png"
