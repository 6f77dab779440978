"""Users' own code, named ``module:factory``, and who may name it.

To import a module is to run it. A name is therefore followed only if the user gave it: on this
command line, in the environment, or as an argument in Python. A checkpoint, a run's settings, a
``--config`` file or a preset that holds such a name is refused until the user repeats it.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcssa.errors import FileError, UsageError


def load_factory(kind: str, name: str) -> Callable[..., Any]:
    """Import a user's factory.

    Args:
        kind: What the factory makes, for the message.
        name: ``module:factory``, importable from where the process runs. The caller vouches that
            the user gave it, and no file.

    Raises:
        UsageError: The factory cannot be imported, or cannot be called.
    """
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"the {kind} {name!r} cannot be imported ({error})",
            hint="give module:factory, importable from where you are (PYTHONPATH)",
        ) from None
    if not callable(factory):
        raise UsageError(f"the {kind} {name!r} is a {type(factory).__name__}, no function")
    result: Callable[..., Any] = factory
    return result


def is_imported(name: object) -> bool:
    """Tell whether a name is one of a user's own code, ``module:factory``."""
    return isinstance(name, str) and ":" in name


def is_own_encoder(name: object) -> bool:
    """Tell whether an encoder's name is one of a user's own code or of anybody's repository."""
    return isinstance(name, str) and name.startswith(("python:", "hf:", "timm:hf-hub:"))


@dataclass(frozen=True)
class OnlyByUser:
    """Marks a setting by which code is imported or models are fetched: ``Annotated[str, …]``.

    Attributes:
        option: The option that sets it on a command line.
        acts: Tells whether a value imports code or fetches models; other values may stand in files
            too.
    """

    option: str
    acts: Callable[[object], bool]


def require_told(
    name: str | None, told: str | None, path: Path, option: str, error: type[FileError]
) -> None:
    """Require that the user named the same code or model as a file does.

    Args:
        name: What the file names.
        told: What the user named.
        path: The file.
        option: The option by which the user names it.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the user named nothing, or something else.
    """
    if name != told:
        raise refusal(name, path, option, error)


def refusal(
    value: object, path: Path, option: str, error: type[FileError], *, variable: str | None = None
) -> FileError:
    """Make the error for a file that asks for what only the user may ask for.

    Args:
        value: A name of code or of a model; or True for a switch.
        path: The file.
        option: The option by which the user asks for it.
        error: Type of the error to make.
        variable: The environment variable that does the same, if there is one.
    """
    if value is True:
        reason, given, setting = f"asks for {option}, which only you can give", option, "true"
    else:
        setting = shlex.quote(str(value))
        reason = f"names {str(value)[:100]!r}, which is not run or fetched because a file says so"
        given = f"{option} {setting}"
    more = "" if variable is None else f", or {variable}={setting} in the environment"
    return error(path, reason, hint=f"if you trust it, give it yourself: {given}{more}")
