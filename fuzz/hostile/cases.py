"""All hostile files of the corpus."""

from __future__ import annotations

from fuzz.hostile import checkpoints, descriptions, features, hdf5, slides, tables
from fuzz.hostile.case import Case

CASES: tuple[Case, ...] = tuple(
    case
    for module in (hdf5, features, checkpoints, tables, descriptions, slides)
    for case in module.cases()
)
