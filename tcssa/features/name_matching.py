"""Names of slides in tables beside names of files: equal, nearly equal, and not at all."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tcssa.errors import counted

_BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}-[A-Z0-9-]+", re.IGNORECASE)
_MOST_COMPARED = 2000
_MOST_CHARACTERS = 60


def matched_names(wanted: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Find names among others: the same name, or a TCGA barcode that lacks its UUID on one side.

    Args:
        wanted: The names to find.
        known: The names to find them among.

    Returns:
        For each name that was found, the one it is among the others. A barcode counts only where
        a single name of each side has it.
    """
    wanted, known = list(dict.fromkeys(wanted)), set(known)
    found = {name: name for name in wanted if name in known}
    by_stem = _by_stem(known - found.keys())
    for stem, names in _by_stem(set(wanted) - found.keys()).items():
        others = by_stem.get(stem, [])
        if len(names) == len(others) == 1 and stem in (names[0].upper(), others[0].upper()):
            found[names[0]] = others[0]
    return {name: found[name] for name in wanted if name in found}


def by_barcode(matched: Mapping[str, str], of: str) -> list[str]:
    """Return a sentence on the names that were matched without their UUID; none if there are none.

    Args:
        matched: What `matched_names` found.
        of: What the other names are of, as "features".
    """
    near = sorted((name, other) for name, other in matched.items() if name != other)
    if not near:
        return []
    first = f"{near[0][0]} is {near[0][1]}"
    found = counted(len(near), "name")
    return [f"{found} found among the {of} by the barcode, without its UUID: {first}"]


def shown(names: Iterable[str], most: int = 3) -> str:
    """List the first names, and say by dots that there are more."""
    ordered = sorted(names)
    cut = ", ".join(_cut(name) for name in ordered[:most])
    return cut + (" …" if len(ordered) > most else "")


def nearest(wanted: Iterable[str], known: Iterable[str]) -> str:
    """Name the two names that are most alike, of three of one side and all of the other.

    Args:
        wanted: Names that were not found.
        known: The names that they were looked for among.

    Returns:
        ``nearest: 'a' and 'b'``; nothing where one side is empty.
    """
    others = sorted(known)[:_MOST_COMPARED]
    pairs = [(name, other) for name in sorted(wanted)[:3] for other in others]
    if not pairs:
        return ""
    name, other = max(pairs, key=lambda pair: _likeness(*pair))
    return f"nearest: {_cut(name)!r} and {_cut(other)!r}"


def _likeness(one: str, other: str) -> tuple[float, int]:
    """Return how alike two names are in whatever case; among equals, how alike they begin."""
    one, other = one.lower(), other.lower()
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return difflib.SequenceMatcher(None, one, other).ratio(), sum(1 for _ in same)


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort TCGA names by their barcode, which ends before the first dot."""
    stems: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        stem = name.partition(".")[0]
        if _BARCODE.fullmatch(stem):
            stems[stem.upper()].append(name)
    return stems


def _cut(name: str) -> str:
    return name if len(name) <= _MOST_CHARACTERS else f"{name[: _MOST_CHARACTERS - 1]}…"
