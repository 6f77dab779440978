"""What a sweep came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class SweepResult:
    """What became of a sweep."""

    out: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of every run that is complete: settings and figures."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason."""
    headline: str = "auc"
    """The metric that rows begin with, after the settings."""

    @property
    def chart(self) -> Path:
        """The headline against K, where K is swept."""
        return self.out / f"{self.headline}_by_slots.png"
