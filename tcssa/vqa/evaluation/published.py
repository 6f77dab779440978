"""Figures that others published, for tables and plots; see ``configs/vqa_published.yaml``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tcssa.config.presets import configs_folder
from tcssa.config.settings import read_yaml
from tcssa.errors import SettingsFileError
from tcssa.files.text import validated

_FILE = "vqa_published.yaml"


class PublishedSystem(BaseModel):
    """One system's accuracies, in per cent, as published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    visual_tokens: int | None = None
    """Visual tokens a slide, where they are stated."""
    slidebench_tcga: float
    microscopy: float
    diagnosis: float
    clinical: float
    slidebench_bcnb: float
    wsi_vqa: float


class Published(BaseModel):
    """The table of published systems, and a caveat to read it with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caveat: str
    systems: tuple[PublishedSystem, ...]


def read_published() -> Published:
    """Read the published figures."""
    path = configs_folder() / _FILE
    return validated(read_yaml(path), path, SettingsFileError, Published)
