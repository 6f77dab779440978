"""Figures that others published, for tables and plots; see ``configs/vqa_published.yaml``."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from tcssa.config.presets import configs_folder
from tcssa.config.settings import read_yaml
from tcssa.errors import SettingsFileError
from tcssa.files.text import validated
from tcssa.vqa.settings import BenchmarkKind

_FILE = "vqa_published.yaml"


class PublishedSystem(BaseModel):
    """One system's accuracies, in per cent, as published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    source: str
    """Where it is published: a name among `Published.sources`."""
    visual_tokens: int | None = None
    """Visual tokens a slide, where they are stated."""
    slidebench_tcga: float | None = None
    microscopy: float | None = None
    diagnosis: float | None = None
    clinical: float | None = None
    slidebench_bcnb: float | None = None
    wsi_vqa: float | None = None

    def on(self, kind: BenchmarkKind) -> float | None:
        """Return the accuracy on a whole benchmark; None where none is stated."""
        percent: float | None = getattr(self, kind.replace("-", "_"), None)
        return percent


class Published(BaseModel):
    """The table of published systems, and a caveat to read it with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caveat: str
    sources: dict[str, str]
    systems: tuple[PublishedSystem, ...]

    @model_validator(mode="after")
    def _require_sources(self) -> Self:
        """Require that every figure has a source."""
        unknown = {each.source for each in self.systems} - self.sources.keys()
        if unknown:
            raise ValueError(f"no source is called {sorted(unknown)[0]}")
        return self


def read_published() -> Published:
    """Read the published figures."""
    path = configs_folder() / _FILE
    return validated(read_yaml(path), path, SettingsFileError, Published)
