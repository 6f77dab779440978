"""Addresses of models on the hub: ``hf:owner/name``, and a revision behind ``@``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tcssa.errors import UsageError

PREFIX = "hf:"
_REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(rf"{PREFIX}({_REPO})(?:@([\w./-]+))?", re.ASCII)


def is_hub_address(path: object) -> bool:
    """Tell whether a path is meant as an address on the hub."""
    return isinstance(path, str | Path) and str(path).startswith(PREFIX)


@dataclass(frozen=True)
class HubAddress:
    """A model on the hub."""

    repo: str
    """``owner/name``."""
    revision: str | None = None
    """A branch, a tag or a commit; None for the newest of the main branch."""

    @classmethod
    def parse(cls, address: Path | str) -> Self:
        """Read an address, which a path may hold.

        Raises:
            UsageError: It is not of the form ``hf:owner/name`` or ``hf:owner/name@revision``.
        """
        found = _ADDRESS.fullmatch(str(address).replace("\\", "/"))  # as Windows writes a path
        if found is None:
            raise UsageError(
                f"{str(address)!r} is no address of a model on the hub",
                hint=f"give {PREFIX}OWNER/NAME, or {PREFIX}OWNER/NAME@REVISION",
            )
        return cls(*found.groups())

    @classmethod
    def of_repo(cls, name: str) -> Self:
        """Read the name of a repository to write to, with or without the prefix.

        Raises:
            UsageError: It is no ``owner/name``, or names a revision.
        """
        address = cls.parse(name if is_hub_address(name) else f"{PREFIX}{name}")
        if address.revision is not None:
            raise UsageError(
                f"{name!r} names a revision, and a push makes one", hint="leave the @… out"
            )
        return address

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + ("" if self.revision is None else f"@{self.revision}")
