"""Where settings come from, and which of them wins.

A flag beats an environment variable (``TCSSA_TRAIN__LR``), which beats ``--config FILE``, which
beats the preset (``--dataset nsclc``), which beats the default.

Settings are frozen pydantic models. Each default and each help text stands once, on the field;
the command line reads both from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

from tcssa import atomic
from tcssa.errors import UsageError

ENV_PREFIX = "TCSSA_"
RESOLVED_FILE = "config.resolved.yaml"


class Section(BaseModel):
    """Base of all settings: frozen, and a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Section)


def absolute(section: S, *names: str) -> S:
    """The same section with absolute paths in these fields, where they are given."""
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
        flags: What was given on the command line, nested; None means "not given".
        config: A YAML file with the same nesting.
        preset: Given what all other sources say, what the preset says that they name.

    Raises:
        UsageError: A name is unknown or a value is not valid; all faults are listed.
    """
    given: dict[str, Any] = {}
    for source in (read_yaml(config) if config else {}, _environment(kind), flags):
        _merge(given, source)
    merged: dict[str, Any] = {}
    for source in (preset(given) if preset else {}, given):
        _merge(merged, source)
    return validate(kind, merged)


def validate(kind: type[S], values: Mapping[str, Any]) -> S:
    """Make settings from values.

    Raises:
        UsageError: A name is unknown or a value is not valid; all faults are listed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or kind.__name__}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise UsageError(f"settings are not valid: {'; '.join(faults)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        UsageError: The file is missing, not YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict | None):
        raise UsageError(f"{path}: must hold names and values")
    return content or {}


def write_resolved(settings: Section, folder: Path) -> None:
    """Write ``config.resolved.yaml``: everything that was in force, readable by ``--config``."""
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    atomic.write_text(folder / RESOLVED_FILE, text)


def _environment(kind: type[Section]) -> dict[str, Any]:
    """What the environment says: ``TCSSA_LR`` or, nested, ``TCSSA_TRAIN__LR``."""

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
