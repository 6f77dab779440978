"""Dataset presets: YAML files that say what differs from the defaults, and what is needed.

A preset names its labels and features relative to a data root (``--data-root``, or the
environment variable ``TCSSA_DATA``), since the toolkit ships no patients' data. It also says where
its splits and settings are from, and which figures were published on the dataset, by whom.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tcssa.config.recipes import RecipeName, recipe_settings
from tcssa.config.settings import read_yaml, section_of
from tcssa.errors import MissingDataError, SettingsFileError, UnknownNameError
from tcssa.files.text import validated

DATA_ROOT_VARIABLE = "TCSSA_DATA"
DEFAULT_METHOD = "tcssa"


class _Part(BaseModel):
    """Base of a preset's parts: frozen, and a misspelt name in the YAML is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodSettings(_Part):
    """Published settings of a method, as far as our settings can express them."""

    source: str
    """Where these values are published, and where our training differs from it."""
    settings: dict[str, Any]
    """Nested as `MilSettings`; laid over the preset's own settings."""


class StatedFigure(_Part):
    """One published figure."""

    method: str
    percent: float
    sd: float | None = None
    """Deviation as stated, in percentage points; the source says over what."""
    num_slots: int | None = None
    """Number K of slots that it was stated for, where the source says so."""

    @property
    def text(self) -> str:
        """The figure in percent, as the source states it."""
        spread = "" if self.sd is None else f" ± {self.sd:.2f}"
        return f"{self.percent:.2f}{spread} %"

    @property
    def fraction(self) -> str:
        """The figure as a fraction, the unit of our metrics, with no digit lost."""
        spread = "" if self.sd is None else f" ± {self.sd / 100:.4f}"
        return f"{self.percent / 100:.4f}{spread}"


class Statement(_Part):
    """Figures that one source states, and why another protocol may not reach them."""

    source: str
    metric: str
    """Name among our metrics: auc, accuracy, …"""
    caveat: str
    figures: list[StatedFigure]


class Preset(_Part):
    """One file of ``configs/datasets``."""

    title: str
    """The dataset and its task, in a line."""
    labels: str
    """Label table, relative to the data root."""
    features: str
    """Folder of patch features, relative to the data root."""
    splits: str | None = None
    """Official splits, relative to the data root; folds by patient if there are none."""
    how_to_get: str
    """How to make all of these, in a line."""
    steps: list[str] = []
    """The same for someone who has nothing yet, step by step."""
    splits_from: str
    """The split into training, validation and test, and its source."""
    notes: list[str] = []
    """Faults of the data, and open questions."""
    settings: dict[str, Any] = {}
    """Settings that differ from the defaults for every method, nested as `MilSettings`."""
    models: dict[str, MethodSettings] = {}
    """Settings that differ for one method, by its name; files may name an entry of
    ``configs/published_settings.yaml`` instead."""
    recipe: RecipeName | None = None
    """The recipe that the settings of tcssa belong to; None where they belong to none."""
    expected: list[Statement] = []
    """Figures published on this dataset."""

    @property
    def paths(self) -> dict[str, str]:
        """Paths needed under the data root: labels, features, and splits if there are any."""
        named = {"labels": self.labels, "features": self.features, "splits": self.splits}
        return {part: path for part, path in named.items() if path is not None}


def preset_names() -> list[str]:
    """List the names of all presets."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def read_preset(name: str) -> Preset:
    """Read a preset.

    Raises:
        UnknownNameError: There is no preset of this name; similar names are offered.
        SettingsFileError: The preset's file is not valid.
    """
    if name not in preset_names():
        raise UnknownNameError("dataset", name, preset_names())
    path = _folder() / f"{name}.yaml"
    content = read_yaml(path)
    published = read_yaml(configs_folder() / "published_settings.yaml")
    content["models"] = {
        method: published[entry] if isinstance(entry, str) else entry
        for method, entry in section_of(content, "models").items()
    }
    return validated(content, path, SettingsFileError, Preset)


def named_defaults(given: Mapping[str, Any], data_root: Path | None) -> dict[str, Any]:
    """Gather the defaults that other settings name: a ``recipe``, and on it a ``dataset``.

    Args:
        given: Settings from flags, environment and files; labels, features or splits they give are
            not looked for under the data root.
        data_root: See `preset_settings`.

    Returns:
        Settings, nested as `MilSettings`.

    Raises:
        UnknownNameError: There is no dataset of this name.
        MissingDataError: A file of the dataset is missing.
    """
    preset = named_preset(given, data_root)
    recipe = given.get("recipe") or preset.get("recipe")
    settings: dict[str, Any] = recipe_settings(str(recipe))
    for section, values in preset.items():
        inner = {**settings.get(section, {}), **values} if isinstance(values, dict) else values
        settings[section] = inner
    return settings


def named_preset(given: Mapping[str, Any], data_root: Path | None) -> dict[str, Any]:
    """Read the settings of the preset that other settings name as ``dataset``, if they name one.

    `named_defaults` adds the defaults of a recipe to them.

    Args:
        given: Settings from flags, environment and files, nested as `MilSettings`.
        data_root: See `preset_settings`.

    Returns:
        Settings, nested as `MilSettings`; none where no dataset is named.

    Raises:
        UnknownNameError: There is no dataset of this name.
        MissingDataError: A file of the dataset is missing.
    """
    name = given.get("dataset")
    if name is None:
        return {}
    cohort, split = section_of(given, "cohort"), section_of(given, "split")
    known = {
        "labels": cohort.get("labels"),
        "features": cohort.get("features"),
        "splits": split.get("files"),
    }
    parts = {part for part, value in known.items() if value}
    preset = read_preset(str(name))
    # a table that says who trains and tests is replaced as a whole
    is_one_table = preset.splits == preset.labels and "labels" in parts and "splits" not in parts
    settings = preset_settings(
        str(name),
        data_root,
        given=frozenset(parts | {"splits"} if is_one_table else parts),
        method=str(section_of(given, "model").get("name") or DEFAULT_METHOD),
        recipe=given.get("recipe"),
    )
    if is_one_table:
        settings["split"] = {**settings.get("split", {}), "files": str(known["labels"])}
    return settings


def preset_settings(
    name: str,
    data_root: Path | None,
    *,
    given: frozenset[str] = frozenset(),
    method: str = DEFAULT_METHOD,
    recipe: str | None = None,
) -> dict[str, Any]:
    """Collect the settings of a preset, with its files found under the data root.

    Args:
        name: Name of the preset.
        data_root: Folder of the data; None takes ``TCSSA_DATA``.
        given: Those of ``labels``, ``features`` and ``splits`` that the user named and that need
            not be under the data root.
        method: The method whose settings are taken, where the preset has some for it.
        recipe: The recipe that the user named; where the preset's is another one, its settings of
            tcssa are left out.

    Returns:
        Settings, nested as `MilSettings`.

    Raises:
        UnknownNameError: There is no preset of this name.
        MissingDataError: A file is missing; the error says which, where, and how to make it.
    """
    preset = read_preset(name)
    root = data_root or Path(os.environ.get(DATA_ROOT_VARIABLE, "."))
    wanted = {part: root / path for part, path in preset.paths.items() if part not in given}
    missing = [str(path) for path in dict.fromkeys(wanted.values()) if not path.exists()]
    if missing:
        where = "--data-root" if data_root else DATA_ROOT_VARIABLE
        steps = f"; step by step: tcssa presets {name}" if preset.steps else ""
        raise MissingDataError(
            f"the dataset {name!r} expects {' and '.join(missing)} (below {where} = {root})",
            hint=" ".join(preset.how_to_get.split()) + steps,
        )
    of_method = preset.models[method].settings if method in preset.models else {}
    is_of_recipe = recipe in (None, preset.recipe)
    if method == DEFAULT_METHOD and not is_of_recipe:
        of_method = {}
    settings: dict[str, Any] = {}
    for source in (preset.settings, of_method):
        for section, values in source.items():
            settings[section] = {**settings.get(section, {}), **values}
    files = wanted.pop("splits", None)
    if files is not None:
        settings["split"] = {**settings.get("split", {}), "files": str(files)}
    settings["cohort"] = {**settings.get("cohort", {}), **{k: str(v) for k, v in wanted.items()}}
    if preset.recipe is not None and is_of_recipe:
        settings["recipe"] = preset.recipe
    return settings


def _folder() -> Path:
    return configs_folder() / "datasets"


def configs_folder() -> Path:
    """Return the folder of presets and tables: in the installed package, else in a checkout."""
    installed = Path(__file__).parents[1] / "_configs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"
