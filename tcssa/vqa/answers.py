"""From what a model writes to the option it means, or to none."""

from __future__ import annotations

from collections.abc import Sequence


def parse_answer(text: str, options: Sequence[str]) -> int | None:
    """The option that a reply names, counted from 0; None if it names none, or more than one."""
    raise NotImplementedError
