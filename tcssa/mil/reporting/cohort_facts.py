"""Facts of a cohort as rows of the table on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def cohort_facts(cohort: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each fact in a cohort's fingerprint."""
    for name, value in cohort.items():
        text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield name.replace("_", " "), text
