"""Sources of settings, and which of them wins.

A flag beats an environment variable (``TCSSA_TRAIN__LR``), which beats ``--config FILE``, which
beats the preset (``--dataset nsclc``), which beats the default. Settings by which code is imported
or models are fetched (`tcssa.plugins.OnlyByUser`) count from flags and environment alone.

Settings are frozen pydantic models. Each default and each help text stands once, on the field;
the command line reads both from there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
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

from tcssa.errors import MAX_CHARACTERS, FileError, SettingsFileError, UsageError
from tcssa.files import atomic
from tcssa.files.text import read_json, validated
from tcssa.files.yaml_file import line_of, read_yaml_mapping
from tcssa.hub import is_hub_address
from tcssa.plugins import OnlyByUser, refusal

ENV_PREFIX = "TCSSA_"
_MAX_FAULTS = MAX_CHARACTERS - 45
"""Most characters of the faults in an error's message; the others stand in its hint."""
RESOLVED_FILE = "config.resolved.yaml"
SHARED_FILE = "config.resolved.json"
"""The same of a run that was shared on the hub, where a path is a name without its folder."""

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
    """Make paths of a section absolute, where they are given; addresses of the hub stay.

    Args:
        section: The settings; they are not changed.
        *names: Fields that hold paths.

    Returns:
        A copy of the section.
    """
    paths = {name: getattr(section, name) for name in names}
    return section.model_copy(
        update={
            name: path.resolve()
            for name, path in paths.items()
            if path is not None and not is_hub_address(path)
        }
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
    environment = _environment(kind)
    for source in (environment, flags):
        _merge(told, source)
    in_file = read_yaml(config) if config else {}
    if config is not None and config.name == RESOLVED_FILE:  # of a run, perhaps an older one
        in_file = kind.completed(in_file)
    given: dict[str, Any] = {}
    for source in (in_file, told):
        _merge(given, source)
    merged: dict[str, Any] = {}
    of_preset = preset(given) if preset else {}
    for source in (of_preset, given):
        _merge(merged, source)

    def origin(place: Place) -> str | None:
        if isinstance(_at(merged, place), Mapping):  # a whole section, from several sources
            return None
        if _at(flags, place) is not None:
            return f"--{place[-1].replace('_', '-')}"
        if _at(environment, place) is not None:
            return ENV_PREFIX + "__".join(place).upper()
        if config is not None and _at(in_file, place) is not None:
            line = line_of(config, place)
            return config.name if line is None else f"{config.name} line {line}"
        return "the preset" if _at(of_preset, place) is not None else None

    settings = validate(kind, merged, origin)
    _require_told(settings, told, config or Path("the preset"))
    return settings


def validate(
    kind: type[S],
    values: Mapping[str, Any],
    origin: Callable[[Place], str | None] = lambda place: None,
) -> S:
    """Make settings from values.

    Args:
        kind: The settings to make.
        values: Their values, nested by section.
        origin: Says where the value at a place is from: a flag, a variable, a line of a file.

    Raises:
        UsageError: A name is unknown or a value is not valid; all faults are listed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = [_explained(kind, fault, origin) for fault in error.errors()]
        shown = next(n for n in range(len(faults), 0, -1) if n == 1 or _fits(faults[:n]))
        rest = f"also: {'; '.join(faults[shown:])}" if shown < len(faults) else None
        message = f"settings are not valid: {'; '.join(faults[:shown])}"
        raise UsageError(message, hint=rest) from None


def _fits(faults: Sequence[str]) -> bool:
    return len("; ".join(faults)) <= _MAX_FAULTS


def _explained(kind: type[Section], fault: Any, origin: Callable[[Place], str | None]) -> str:
    """Say which setting is not valid, why, what it may be, and where it is from."""
    place = tuple(part for part in fault["loc"] if isinstance(part, str))
    name = ".".join(str(part) for part in fault["loc"]) or kind.__name__
    said = fault["msg"].removeprefix("Value error, ").partition(", unable to")[0]
    if fault["type"] == "extra_forbidden":
        known = list(_section_at(kind, place[:-1]).model_fields)
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        said = f"is no setting; {f'did you mean {near[0]}?' if near else _choices(known)}"
    elif fault["type"] == "bool_parsing":
        said = "Input should be true or false"
    elif fault["type"] == "list_type":
        said = 'Input should be a list, as ["A", "B"]'
    value = fault["input"]
    is_value = isinstance(value, str | int | float) and fault["type"] != "extra_forbidden"
    found = f", not {value!r}" if is_value and place else ""
    source = origin(place) if place else None
    return f"{name}: {said}{found}" + (f" ({source})" if source else "")


def _choices(known: Sequence[str]) -> str:
    return f"it may be {', '.join(known)}"


def _section_at(kind: type[Section], place: Place) -> type[Section]:
    """Return the section at a place, as far as there is one."""
    for name in place:
        field = kind.model_fields.get(name)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, Section)):
            break
        kind = inner
    return kind


def _at(values: Mapping[str, Any], place: Place) -> Any:
    """Return the value at a place of nested settings; None where none is given."""
    found: Any = values
    for name in place:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


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
    if not path.exists() and (folder / SHARED_FILE).is_file():
        path = folder / SHARED_FILE
        return validated(read_json(path, error, top=dict), path, error, kind)
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
        if _at(told, place) is None:
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
