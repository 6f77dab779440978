"""All readers, by name."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import checkpoints, descriptions, features, slides, tables

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (features, checkpoints, tables, descriptions, slides)
    for target in module.TARGETS
}
