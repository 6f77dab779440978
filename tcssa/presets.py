"""Dataset presets: YAML files that say what differs from the defaults, and what is needed.

A preset names its labels and features relative to a data root (``--data-root``, or the
environment variable ``TCSSA_DATA``), since the toolkit ships no patients' data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from tcssa.errors import MissingDataError, UnknownNameError

DATA_ROOT_VARIABLE = "TCSSA_DATA"


class Preset(BaseModel):
    """One file of ``configs/datasets``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    """What it is, in a line."""
    labels: str
    """Label table, relative to the data root."""
    features: str
    """Folder of patch features, relative to the data root."""
    how_to_get: str
    """How to make both, for someone who has neither."""
    settings: dict[str, Any] = {}
    """What differs from the defaults, nested as `MilSettings`."""


def preset_names() -> list[str]:
    """All presets there are."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def read_preset(name: str) -> Preset:
    """Read a preset.

    Raises:
        UnknownNameError: There is none of this name; near ones are offered.
    """
    path = _folder() / f"{name}.yaml"
    if name not in preset_names():
        raise UnknownNameError("dataset", name, preset_names())
    return Preset.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def named_preset(given: Mapping[str, Any], data_root: Path | None) -> dict[str, Any]:
    """The settings of the preset that other settings name as ``dataset``, if they name one.

    Args:
        given: What flags, environment and files say; labels or features they give are not
            looked for under the data root.
        data_root: See `preset_settings`.
    """
    name = given.get("dataset")
    if name is None:
        return {}
    cohort = given.get("cohort")
    known = cohort if isinstance(cohort, Mapping) else {}
    parts = frozenset(part for part in ("labels", "features") if known.get(part))
    return preset_settings(str(name), data_root, given=parts)


def preset_settings(
    name: str, data_root: Path | None, *, given: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The settings of a preset, its files found under the data root.

    Args:
        name: Of the preset.
        data_root: None takes ``TCSSA_DATA``.
        given: Of ``labels`` and ``features``, those that the user named and that need not be
            under the data root.

    Raises:
        UnknownNameError: There is no such preset.
        MissingDataError: A file is not there; the error says which, where, and how to make it.
    """
    preset = read_preset(name)
    root = data_root or Path(os.environ.get(DATA_ROOT_VARIABLE, "."))
    wanted = {
        part: root / getattr(preset, part) for part in ("labels", "features") if part not in given
    }
    missing = [str(path) for path in wanted.values() if not path.exists()]
    if missing:
        where = "--data-root" if data_root else DATA_ROOT_VARIABLE
        raise MissingDataError(
            f"the dataset {name!r} expects {' and '.join(missing)} (below {where} = {root})",
            hint=" ".join(preset.how_to_get.split()),
        )
    settings = dict(preset.settings)
    settings["cohort"] = {**settings.get("cohort", {}), **{k: str(v) for k, v in wanted.items()}}
    return settings


def _folder() -> Path:
    return configs_folder() / "datasets"


def configs_folder() -> Path:
    """Where presets and tables lie: inside the installed package, else in a checkout."""
    installed = Path(__file__).parent / "_configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"
