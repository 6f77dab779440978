"""Signatures and docstrings of the API pages, without what a reader need not see."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_BEFORE_NAPOLEON = 400
_BOUNDED = re.compile(r"Annotated\[([^,\[\]]+(?:\[[^\]]*\])?), [^\[\]]*\]")


def setup(app: Sphinx) -> None:
    """Mend what autodoc hands on."""
    app.connect("autodoc-process-docstring", _keep_colon, priority=_BEFORE_NAPOLEON)
    app.connect("autodoc-process-signature", _without_bounds)


def _keep_colon(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Have the words before a colon not taken for the type of an attribute."""
    if what == "attribute":
        lines.insert(0, "")


def _without_bounds(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, result: Any
) -> tuple[str, Any] | None:
    """Show ``int`` where pydantic has ``Annotated[int, Ge(ge=1)]``."""
    return (_BOUNDED.sub(r"\1", signature), result) if signature else None
