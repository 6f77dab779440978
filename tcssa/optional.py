"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from types import ModuleType

from tcssa.errors import BrokenPackageError, MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: The name to import.
        extra: The extra of `tcssa` that installs it.

    Raises:
        MissingExtraError: The package is not installed; the error names the extra.
        BrokenPackageError: The package is installed and cannot be imported, such as torchvision
            beside a torch it was not built for.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(module, extra) from None
    except (ImportError, RuntimeError) as error:
        raise BrokenPackageError(module, error) from None
