"""What tests say about a command line they ran."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout; anything else there is a fault."""
        content: dict[str, Any] = json.loads(self.stdout)
        return content


Run = Callable[..., Outcome]

SMALL = ("--num-slots", "4", "--hidden-dim", "8", "--folds", "3", "--epochs", "6", "--lr", "0.01")
"""Options under which train-mil takes about a second."""
