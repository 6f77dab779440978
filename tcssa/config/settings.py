"""Sources of settings, and which of them wins.

A flag beats an environment variable (``TCSSA_TRAIN__LR``), which beats ``--config FILE``, which
beats the preset (``--dataset nsclc``), which beats the default. Settings by which code is imported
or models are fetched (`tcssa.plugins.OnlyByUser`) count from flags and environment alone.

Settings are frozen pydantic models. Each default and each help text stands once, on the field;
the command line reads both from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tcssa.errors import FileError, SettingsFileError, UsageError
from tcssa.files import atomic
from tcssa.files.text import validated
from tcssa.files.yaml_file import read_yaml_mapping
from tcssa.plugins import OnlyByUser, refusal

ENV_PREFIX = "TCSSA_"
RESOLVED_FILE = "config.resolved.yaml"

Place = tuple[str, ...]
"""Names of the sections around a setting, and its own."""


class Section(BaseModel):
    """Base of all settings: frozen, and a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Complete the settings of a run that is older than some of them."""
        return values


S = TypeVar("S", bound=Section)


def absolute(section: S, *names: str) -> S:
    """Make paths of a section absolute, where they are given.

    Args:
        section: The settings; they are not changed.
        *names: Fields that hold paths.

    Returns:
        A copy of the section.
    """
    paths = {name: getattr(section, name) for name in names}
    return section.model_copy(
        update={name: path.resolve() for name, path in paths.items() if path is not None}
    )


def resolve(
    kind: type[S],
    *,
    flags: Mapping[str, Any],
    config: Path | None = None,
    preset: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> S:
    """Merge all sources of a command's settings.

    Args:
        kind: The settings to make; nested sections are themselves `Section` models.
        flags: Values from the command line, nested; None means "not given".
        config: A YAML file with the same nesting.
        preset: Returns the settings of the preset that all other sources, which it is given, name.

    Raises:
        UsageError: A name is unknown or a value is not valid; all faults are listed.
        SettingsFileError: ``config`` cannot be read; or code would be imported or a model fetched,
            and neither flags nor environment ask for it.
    """
    told: dict[str, Any] = {}
    for source in (_environment(kind), flags):
        _merge(told, source)
    in_file = read_yaml(config) if config else {}
    if config is not None and config.name == RESOLVED_FILE:  # of a run, perhaps an older one
        in_file = kind.completed(in_file)
    given: dict[str, Any] = {}
    for source in (in_file, told):
        _merge(given, source)
    merged: dict[str, Any] = {}
    for source in (preset(given) if preset else {}, given):
        _merge(merged, source)
    settings = validate(kind, merged)
    _require_told(settings, told, config or Path("the preset"))
    return settings


def validate(kind: type[S], values: Mapping[str, Any]) -> S:
    """Make settings from values.

    Args:
        kind: The settings to make.
        values: Their values, nested by section.

    Raises:
        UsageError: A name is unknown or a value is not valid; all faults are listed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or kind.__name__}: {fault['msg']}"
            + (f", not {fault['input']!r}" if isinstance(fault["input"], str | int | float) else "")
            for fault in error.errors()
        ]
        raise UsageError(f"settings are not valid: {'; '.join(faults)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings that the user gave.

    Raises:
        SettingsFileError: The file cannot be read, or holds no settings.
    """
    return read_yaml_mapping(path, SettingsFileError)


def read_resolved(folder: Path, kind: type[S], error: type[FileError]) -> S:
    """Read the settings that were in force in a run; see `Section.completed` for older runs.

    They may name a user's own code; nothing that they name is imported here.

    Args:
        folder: The run directory.
        kind: The settings to make.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the settings are missing, damaged or not valid.
    """
    path = folder / RESOLVED_FILE
    return validated(kind.completed(read_yaml_mapping(path, error)), path, error, kind)


def section_of(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of settings that are not validated yet.

    Args:
        given: The settings, nested by section.
        name: Name of the section.

    Returns:
        The section; empty where it is missing or no mapping.
    """
    section = given.get(name)
    return section if isinstance(section, Mapping) else {}


def write_resolved(settings: Section, folder: Path) -> None:
    """Write ``config.resolved.yaml``: everything that was in force, readable by ``--config``.

    Args:
        settings: The settings in force.
        folder: The run directory.
    """
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    atomic.write_text(folder / RESOLVED_FILE, text)


def _require_told(settings: Section, told: Mapping[str, Any], source: Path) -> None:
    """Require that whatever imports code or fetches a model was asked for by flag or environment.

    Raises:
        SettingsFileError: Only a file asks for an import or a model.
    """
    for place, value, option in _acting(settings):
        given: Any = told
        for name in place:
            given = given.get(name) if isinstance(given, Mapping) else None
        if given is None:
            variable = ENV_PREFIX + "__".join(place).upper()
            raise refusal(value, source, option, SettingsFileError, variable=variable)


def _acting(settings: Section, place: Place = ()) -> Iterator[tuple[Place, Any, str]]:
    """Find the values that import code or fetch models: where they stand, and their options."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Section):
            yield from _acting(value, (*place, name))
        for mark in field.metadata:
            if isinstance(mark, OnlyByUser) and mark.acts(value):
                yield (*place, name), value, mark.option


def _environment(kind: type[Section]) -> dict[str, Any]:
    """Read the settings in the environment: ``TCSSA_LR`` or, nested, ``TCSSA_TRAIN__LR``."""

    class FromEnvironment(kind, BaseSettings):  # type: ignore[valid-type, misc]  # a run-time base
        model_config = SettingsConfigDict(
            env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="ignore"
        )

    try:
        return EnvSettingsSource(FromEnvironment)()
    except SettingsError as error:
        raise UsageError(f"the environment holds a setting that cannot be read: {error}") from None


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for name, value in source.items():
        if isinstance(value, Mapping):
            inner = target.setdefault(name, {})
            if isinstance(inner, dict):
                _merge(inner, value)
                continue
        if value is not None:
            target[name] = value
