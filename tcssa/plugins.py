"""What users bring of their own, named ``module:factory``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tcssa.errors import UsageError


def load_factory(kind: str, name: str) -> Callable[..., Any]:
    """Import a user's factory.

    Args:
        kind: What it makes, for the message.
        name: ``module:factory``, importable from where the process runs.

    Raises:
        UsageError: It cannot be imported.
    """
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"the {kind} {name!r} cannot be imported ({error})",
            hint="give module:factory, importable from where you are (PYTHONPATH)",
        ) from None
    if not callable(factory):
        raise UsageError(f"the {kind} {name!r} is a {type(factory).__name__}, no function")
    result: Callable[..., Any] = factory
    return result
