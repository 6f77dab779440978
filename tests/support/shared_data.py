"""Where the team's shared data lie; tests that need what is absent skip by name."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared(name: str) -> Path:
    """A folder of the shared data, there or not."""
    return _SHARED / name


def require_shared(name: str) -> Path:
    """A file or folder of the shared data; skips the test where it is absent."""
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"../shared/{name} is not here")
    return path
