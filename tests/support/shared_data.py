"""Where the team's shared data lie; tests that need what is absent skip by name.

The folder is ``../shared`` beside the repository, or what the environment variable
``TCSSA_SHARED`` names: ``TCSSA_SHARED=/nowhere pytest`` is the suite as a stranger's clone runs
it. Whatever asks for data of that folder does so by `require_shared`, and its tests carry the
marker ``shared`` (tests/conftest.py), which nobody writes by hand: `needs_shared` finds the call
in the test, in its fixtures and in the helpers that these call.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

_TESTS = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("TCSSA_SHARED") or _TESTS.parents[1] / "shared")

GOLDEN = ["k16_d48_b1_n2000", "k8_d32_b1_n3_empty_slots", "k8_d32_b2_n300"]
"""Files of the reference's compressor in ../shared/golden, without their extension."""


def shared(name: str) -> Path:
    """A file or folder of the shared data, there or not; for what has a stand-in."""
    return SHARED / name


def require_shared(name: str) -> Path:
    """A file or folder of the shared data; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"../shared/{name} is not here")
    return path


def needs_shared(item: pytest.Item) -> bool:
    """Tell whether a test, or a fixture that it asks for, calls `require_shared`."""
    if not isinstance(item, pytest.Function):
        return False
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(map(calls_require_shared, [item.function, *(each[-1].func for each in fixtures)]))


def calls_require_shared(function: Callable[..., Any]) -> bool:
    """Tell whether a function of tests/ calls `require_shared`, itself or by others of tests/."""
    waiting, seen = [inspect.unwrap(function)], set()
    while waiting:
        each = waiting.pop()
        if each is require_shared:
            return True
        if each not in seen and isinstance(each, FunctionType) and _is_ours(each):
            seen.add(each)
            used = (each.__globals__.get(name) for name in _names(each.__code__))
            waiting += [inspect.unwrap(value) for value in used if callable(value)]
    return False


def _is_ours(function: FunctionType) -> bool:
    path = Path(function.__code__.co_filename)
    return path.is_relative_to(_TESTS) and path != Path(__file__)


def _names(code: CodeType) -> Iterator[str]:
    """Every global that a function names, and those of the functions within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
